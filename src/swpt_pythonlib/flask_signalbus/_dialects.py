"""What each database does differently, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError


class Strategy(Enum):
    """How a burst of signals is claimed and deleted."""

    #: One statement, which finds the rows that it has locked by their places.
    DELETE_PLACES = "delete places"
    #: One statement, which is also the one that takes the write lock.
    DELETE_KEYS = "delete keys"
    #: Two statements: the second looks each key up, and scans nothing.
    LOCK_AND_DELETE_JOINED = "lock and delete joined"
    #: Portable: the rows are locked, then deleted one by one.
    LOCK_AND_DELETE_EACH = "lock and delete each"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The peculiarities of one database.

    :param strategy: How a burst of signals is claimed and deleted.
    :param skips_locked_rows: Whether ``SKIP LOCKED`` can be relied on.
    :param compares_row_values: Whether the index of a composite key is used
        for ``(a, b) > (:a, :b)``.
    :param key_index: How a statement is told to use the index of the primary key, if
        it would rather scan another one, and lock what it finds there.
    :param trusts_statistics: Whether the planner believes in old statistics, which are
        wrong for a table that is empty at night and full at noon.
    :param compares_enums_as_text: Whether an ``ENUM`` is ordered by position, but
        compared with a value as text.
    :param flush_isolation_level: The level of a burst's transaction, ``None``
        to leave the application's.
    :param atomic_isolation_level: The weakest level at which a read followed
        by a write of the same row loses no update, ``None`` to pass none.
    :param begin: The statement that begins a real transaction, where the
        driver would not begin one before the first write.
    :param lock_timeout: The statement that makes a connection wait no longer than
        ``{}`` seconds for a lock, where the driver has no argument for it.
    :param conflicts: The codes of errors that another attempt can cure.
    :param collisions: The codes of violated constraints that another attempt
        can cure, because another transaction's rows are to blame.
    """

    strategy: Strategy = Strategy.LOCK_AND_DELETE_EACH
    skips_locked_rows: bool = False
    compares_row_values: bool = False
    key_index: str | None = None
    trusts_statistics: bool = False
    compares_enums_as_text: bool = False
    flush_isolation_level: str | None = None
    atomic_isolation_level: str | None = None
    begin: str | None = None
    lock_timeout: str | None = None
    conflicts: frozenset[str | int] = frozenset()
    collisions: frozenset[str | int] = frozenset()


_MYSQL = Traits(
    strategy=Strategy.LOCK_AND_DELETE_JOINED,
    skips_locked_rows=True,
    key_index="FORCE INDEX (PRIMARY)",
    compares_enums_as_text=True,
    flush_isolation_level="READ COMMITTED",
    # REPEATABLE READ loses updates, without an error.
    atomic_isolation_level="SERIALIZABLE",
    lock_timeout="SET innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0}",
    conflicts=frozenset(
        {
            1020,  # record has changed since last read (MariaDB)
            1205,  # lock wait timeout exceeded
            1213,  # deadlock found
        }
    ),
    collisions=frozenset(
        {
            1062,  # duplicate entry
            1451,  # a parent row is still referenced
            1452,  # a child row has no parent
        }
    ),
)

_POSTGRESQL = Traits(
    strategy=Strategy.DELETE_PLACES,
    skips_locked_rows=True,
    compares_row_values=True,
    trusts_statistics=True,
    flush_isolation_level="READ COMMITTED",
    atomic_isolation_level="REPEATABLE READ",
    lock_timeout="SET LOCAL lock_timeout = '{0}s'",
    conflicts=frozenset(
        {
            "40001",  # serialization failure
            "40P01",  # deadlock detected
        }
    ),
    collisions=frozenset(
        {
            "23503",  # foreign key violation
            "23505",  # unique violation
            "23P01",  # exclusion violation
        }
    ),
)

_SQLITE = Traits(
    strategy=Strategy.DELETE_KEYS,
    compares_row_values=True,
    begin="BEGIN",
    conflicts=frozenset(
        {
            5,  # BUSY
            261,  # BUSY_RECOVERY
            262,  # LOCKED_SHAREDCACHE
            517,  # BUSY_SNAPSHOT
            773,  # BUSY_TIMEOUT
        }
    ),
    collisions=frozenset(
        {
            787,  # CONSTRAINT_FOREIGNKEY
            1555,  # CONSTRAINT_PRIMARYKEY
            2067,  # CONSTRAINT_UNIQUE
            2579,  # CONSTRAINT_ROWID
        }
    ),
)

_BY_NAME = {
    "mariadb": _MYSQL,
    "mysql": _MYSQL,
    "postgresql": _POSTGRESQL,
    "sqlite": _SQLITE,
}
_UNKNOWN = Traits()


def traits_of(dialect: Dialect | type[Dialect]) -> Traits:
    """Return the traits of a database, harmless ones if it is not known."""
    return _BY_NAME.get(dialect.name, _UNKNOWN)


def is_conflict(error: BaseException, traits: Traits) -> bool:
    """Tell whether the database reported a serialization conflict."""
    return (
        isinstance(error, DBAPIError)
        and has_code(error.orig, traits.conflicts)
        # MariaDB calls it a timeout too if a lock was not to be waited for.
        and "NOWAIT" not in (error.statement or "")
    )


def is_collision(error: BaseException, traits: Traits) -> bool:
    """Tell whether a constraint collided with another transaction's rows."""
    return isinstance(error, DBAPIError) and has_code(error.orig, traits.collisions)


def has_code(driver_error: BaseException | None, codes: frozenset[str | int]) -> bool:
    """Tell whether one of an error's codes is among the given ones."""
    return any(code in codes for code in codes_of(driver_error))


def codes_of(driver_error: BaseException | None) -> Iterator[str | int]:
    """Yield what a driver's error says of its cause, the most exact code first."""
    candidates: tuple[Any, ...] = (
        getattr(driver_error, "pgcode", None),  # psycopg2
        getattr(driver_error, "sqlite_errorcode", None),
        getattr(driver_error, "errno", None),  # mysql-connector, mariadb
        *_first_argument(driver_error),
        getattr(driver_error, "sqlstate", None),  # psycopg, some MySQL drivers
    )
    return (code for code in candidates if type(code) in (str, int))


def _first_argument(driver_error: BaseException | None) -> tuple[Any, ...]:
    first = next(iter(getattr(driver_error, "args", ())), None)
    if isinstance(first, dict):  # pg8000
        return (first.get("C"),)

    # A text is a message, not a code.
    return (first,) if isinstance(first, int) else ()
