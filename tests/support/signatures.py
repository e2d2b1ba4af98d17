"""What fixtures return, for the annotations of the tests."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from support.models import Account

#: Makes an application with the sample models.
AppFactory = Callable[..., Flask]
#: Makes a database with an application of its own.
DBFactory = Callable[..., Any]
#: Records signals with the given texts.
Record = Callable[..., list[Any]]
#: Reads the texts of the pending signals.
Pending = Callable[..., list[str]]
#: Reads the committed accounts and their values.
Stored = Callable[[], dict[int, int]]
#: Commits an account.
AddAccount = Callable[..., Account]
