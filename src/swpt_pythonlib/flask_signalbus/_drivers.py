"""What only the driver's own connection knows, or can be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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


def prepare_nothing(connection: Connection) -> None:
    """Have psycopg 3 never prepare a statement, which a pooler might not find again."""
    driver = _driver_connection(connection)
    if hasattr(driver, "prepare_threshold"):
        driver.prepare_threshold = None


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


def hears_rings(connection: Connection) -> bool:
    """Tell whether the driver can be asked for what others NOTIFY."""
    driver = _driver_connection(connection)
    return hasattr(driver, "pgconn") or hasattr(driver, "poll")


def rings_on(connection: Connection) -> list[str]:
    """Return what others have rung with since the last call; do not wait for it.

    :raises Exception: An error of the driver, if the connection is lost.
    """
    driver = _driver_connection(connection)
    if not hasattr(driver, "pgconn"):  # psycopg2
        driver.poll()
        rings = [notification.payload for notification in driver.notifies]
        driver.notifies.clear()
        return rings

    # Its generator of notifications cannot be told not to wait before psycopg 3.2.
    driver.pgconn.consume_input()
    return [ring.extra.decode() for ring in iter(driver.pgconn.notifies, None)]


def socket_of(connection: Connection) -> int:
    """Return the socket of psycopg2 or psycopg, which is readable when rings come."""
    number: int = _driver_connection(connection).fileno()
    return number


def read_at_once(connection: Connection, queries: Iterable[str]) -> list[Any]:
    """Return the first value of each query on SQLite, outside of any transaction."""
    driver = _driver_connection(connection)
    return [driver.execute(query).fetchone()[0] for query in queries]


def wait_for_no_lock(connection: Connection) -> None:
    """Have SQLite say at once that the database is locked."""
    _driver_connection(connection).execute("PRAGMA busy_timeout = 0")


def close_at_once(connection: Connection) -> None:
    """Close a connection that does not go back to the pool, and may be broken."""
    with suppress(Exception):
        _driver_connection(connection).close()
    # SQLAlchemy would try to roll back first, and log that it cannot.
    connection.invalidate()
    connection.close()


def _driver_connection(connection: Connection) -> Any:
    # Not 'driver_connection', which a connection no longer knows that has been detached
    # from its pool. They differ for asynchronous drivers only.
    return connection.connection.dbapi_connection
