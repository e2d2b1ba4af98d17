"""What the tests' SQLite connections have switched on, and can compare by."""

import sqlite3
from typing import Any

from sqlalchemy import Engine, event


def set_up_sqlite(engine: Engine) -> None:
    """Enforce foreign keys, as others do; and do not wait for the disk."""
    event.listen(engine, "connect", _set_up)


def _set_up(driver_connection: Any, _: object) -> None:
    if isinstance(driver_connection, sqlite3.Connection):
        driver_connection.execute("PRAGMA foreign_keys = ON")
        driver_connection.execute("PRAGMA synchronous = OFF")
        driver_connection.create_collation("backwards", _compare_backwards)


def _compare_backwards(left: str, right: str) -> int:
    return (left < right) - (left > right)
