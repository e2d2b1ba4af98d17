"""What only the driver's own connection knows, or can be told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, literal, select
from sqlalchemy.exc import DBAPIError

from ._dialects import traits_of

# What libpq calls PQTRANS_INERROR.
_IN_ERROR = 3


@contextmanager
def without_prepared_statements(connection: Connection) -> Iterator[None]:
    """Have each statement planned for the table as it is.

    psycopg 3 prepares a repeated statement, and PostgreSQL may keep a plan that
    it made while the table was empty: a scan of the whole table, for each burst.
    """
    driver = _driver_connection(connection)
    if not hasattr(driver, "prepare_threshold"):
        yield
        return

    threshold, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        yield
    finally:
        driver.prepare_threshold = threshold


def begin_really(connection: Connection) -> None:
    """Begin a transaction where the driver would commit each statement by itself.

    On SQLite an engine can be configured so, and no isolation level would bring
    its transactions back without changing the connection for good.
    """
    begin = traits_of(connection.dialect).begin
    if begin is None:
        return

    driver = _driver_connection(connection)
    if getattr(driver, "autocommit", None) is True or getattr(
        connection.dialect, "skip_autocommit_rollback", False
    ):
        raise RuntimeError(
            "Signals cannot be flushed on connections that never roll back; remove"
            " 'autocommit' or 'skip_autocommit_rollback' from the engine's options."
        )
    if driver.isolation_level is None and not driver.in_transaction:
        connection.exec_driver_sql(begin)


def leave_transactions_to_us(driver_connection: Any, _: object) -> None:
    """Have the driver of SQLite begin no transaction by itself; it begins too late."""
    driver_connection.isolation_level = None


def in_transaction(connection: Connection) -> bool:
    """Tell whether the driver of SQLite is in a transaction."""
    return bool(_driver_connection(connection).in_transaction)


def is_aborted(connection: Connection) -> bool:
    """Tell what psycopg2 and psycopg know, without asking the server."""
    info = getattr(_driver_connection(connection), "info", None)
    return getattr(info, "transaction_status", None) == _IN_ERROR


def has_survived(connection: Connection) -> bool:
    """Tell whether a transaction is still alive after an error in it."""
    try:
        connection.scalar(select(literal(1)))
    except DBAPIError:
        return False

    if traits_of(connection.dialect).begin is None:
        return True

    # SQLite may have rolled back by itself (ON CONFLICT ROLLBACK, disk full).
    driver = _driver_connection(connection)
    return bool(driver.in_transaction or driver.isolation_level is not None)


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection
