"""Fixtures: an account, the statements that are executed, and a rival."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, db
from support.rivals import Rival
from support.signatures import AddAccount


@pytest.fixture
def add_account(app: Flask) -> AddAccount:
    def add_account(id: int = 1, value: int = 100) -> Account:
        account = Account(id=id, value=value)
        db.session.add(account)
        db.session.commit()
        return account

    return add_account


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """Return the statements that are executed from now on."""
    executed: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    yield executed
    sa.event.remove(db.engine, "before_cursor_execute", note)


@pytest.fixture
def rival(tables: str) -> Iterator[Rival]:
    rival = Rival(tables)
    yield rival
    rival.close()
