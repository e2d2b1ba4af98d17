"""What fixtures return, for the annotations of the tests."""

from collections.abc import Callable
from typing import Any

from flask import Flask

#: Makes an application with the sample models.
AppFactory = Callable[..., Flask]
#: Makes a database with an application of its own.
DBFactory = Callable[..., Any]
#: Records signals with the given texts.
Record = Callable[..., list[Any]]
#: Reads the texts of the pending signals.
Pending = Callable[..., list[str]]
