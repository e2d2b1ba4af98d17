"""What each database does differently, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from uuid import UUID

from sqlalchemy.engine import Dialect


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
    :param claims_by_view: Whether signals can be claimed and deleted by a view.
    :param index_hint: How a statement is told to use the index ``{}``, if it would
        rather scan another one, and lock what it finds there.
    :param expects_nothing: The query that tells whether the planner takes ``:table``
        for empty, because it was when statistics were collected.
    :param orders_as_python: The types of Python whose values it orders as Python does.
    :param trusts_statistics: Whether the planner believes in old statistics, which are
        wrong for a table that is empty at night and full at noon.
    :param shares_locks_of: Whether a shared lock can be restricted to some tables.
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
    :param lies_alone: The query that tells whether all rows of ``:table`` lie in this
        table, and not in partitions or in tables that inherit from it.
    :param late_constraints: The query for the constraints that would be checked at
        the commit only when rows of ``:table`` are deleted.
    :param check_constraints: The statement that has the constraints ``{}`` checked
        at once.
    :param server_faults: The codes of errors that the server is to blame for, or the
        rights on it, and no row; what begins with one of these counts too.
    :param demoted: Those of them that say that the server no longer takes writes:
        another connection may lead to one that does.
    :param notify: The statement that rings with ``:ring`` when its transaction commits.
    :param listen: The statement that has a connection hear these rings.
    :param local_clock: The time in the time zone of the session, without the zone.
    :param data_version: The query for a number that differs as soon as another
        connection has written to the schema ``{}``, where deleted keys are used again.
    :param conflicts: The codes of errors that another attempt can cure.
    :param worded_conflicts: Codes that tell of a conflict only if the message has the
        words that stand beside them.
    :param nowait_refusals: Those of them that are no conflict if the statement was not
        to wait for a lock.
    :param collisions: The codes of violated constraints that another attempt
        can cure, because another transaction's rows are to blame.
    """

    strategy: Strategy = Strategy.LOCK_AND_DELETE_EACH
    skips_locked_rows: bool = False
    compares_row_values: bool = False
    claims_by_view: bool = True
    index_hint: str | None = None
    expects_nothing: str | None = None
    orders_as_python: frozenset[type] = frozenset()
    trusts_statistics: bool = False
    shares_locks_of: bool = False
    compares_enums_as_text: bool = False
    flush_isolation_level: str | None = None
    atomic_isolation_level: str | None = None
    begin: str | None = None
    lock_timeout: str | None = None
    lies_alone: str | None = None
    late_constraints: str | None = None
    check_constraints: str | None = None
    notify: str | None = None
    listen: str | None = None
    local_clock: str = "LOCALTIMESTAMP"
    data_version: str | None = None
    server_faults: tuple[str | int, ...] = ()
    demoted: frozenset[str | int] = frozenset()
    conflicts: frozenset[str | int] = frozenset()
    worded_conflicts: tuple[tuple[str | int, str], ...] = ()
    nowait_refusals: frozenset[str | int] = frozenset()
    collisions: frozenset[str | int] = frozenset()


_MYSQL = Traits(
    strategy=Strategy.LOCK_AND_DELETE_JOINED,
    skips_locked_rows=True,
    index_hint="FORCE INDEX ({})",
    compares_enums_as_text=True,
    flush_isolation_level="READ COMMITTED",
    # REPEATABLE READ loses updates, without an error.
    atomic_isolation_level="SERIALIZABLE",
    lock_timeout="SET innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0}",
    server_faults=(
        1021,  # disk full
        1030,  # the storage engine's own error, as a full disk
        1044,  # access denied to the database
        1047,  # a node of a cluster is not ready
        1053,  # server shutdown in progress
        1054,  # no such column
        1114,  # table is full
        1142,  # command denied
        1143,  # command denied for a column
        1146,  # no such table
        1176,  # no such index
        1180,  # error during commit
        1290,  # read-only
        1665,  # binlog_format=STATEMENT
        1792,  # read-only transaction
        1836,  # read-only mode
        1927,  # connection was killed
        3098,  # group replication refuses the level, or the table
        3100,  # group replication has lost touch with the group
    ),
    demoted=frozenset({1290, 1792, 1836}),
    conflicts=frozenset(
        {
            1020,  # record has changed since last read (MariaDB)
            1205,  # lock wait timeout exceeded
            1213,  # deadlock found
            3101,  # group replication: lost to another member
        }
    ),
    # Group replication: lost to another member, whose changes were already there.
    # The number is the same in each of the server's languages.
    worded_conflicts=((1180, " 149 "),),
    # MariaDB calls it a timeout too.
    nowait_refusals=frozenset({1205}),
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
    claims_by_view=False,
    # Not those of which there is something that equals nothing, or is infinite.
    orders_as_python=frozenset({bool, bytes, date, datetime, int, UUID}),
    trusts_statistics=True,
    shares_locks_of=True,
    flush_isolation_level="READ COMMITTED",
    atomic_isolation_level="REPEATABLE READ",
    lock_timeout="SET LOCAL lock_timeout = '{0}s'",
    # It expects as many rows on each page as there were.
    expects_nothing="""
        SELECT relpages > 0 AND 20 > reltuples / relpages
          * (pg_relation_size(oid) / CAST(current_setting('block_size') AS INTEGER))
        FROM pg_class WHERE oid = to_regclass(:table)
    """,
    lies_alone="""
        SELECT relkind = 'r' AND NOT relhassubclass
        FROM pg_class WHERE oid = to_regclass(:table)
    """,
    late_constraints="""
        SELECT DISTINCT quote_ident(nspname) || '.' || quote_ident(conname)
        FROM pg_trigger
        JOIN pg_constraint ON pg_constraint.oid = tgconstraint
        JOIN pg_namespace ON pg_namespace.oid = connamespace
        WHERE tgrelid = to_regclass(:table) AND tgdeferrable
    """,
    # A constraint that a migration has dropped since then must not stop the flush.
    check_constraints="""
        DO $signalbus$ BEGIN SET CONSTRAINTS {} IMMEDIATE;
        EXCEPTION WHEN undefined_object THEN NULL; END $signalbus$
    """,
    notify="SELECT pg_notify('signalbus', :ring)",
    listen="LISTEN signalbus",
    server_faults=(
        "08",  # connection exceptions
        "25006",  # read-only transaction
        "3D000",  # no such database
        "42501",  # insufficient privilege
        "42703",  # no such column
        "42P01",  # no such table
        "53",  # insufficient resources: disk full, out of memory
        "57P",  # shutdown, crash, not yet accepting connections
        "58",  # system error
        "XX",  # internal error, corruption
    ),
    demoted=frozenset({"25006"}),
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
    # RETURNING returns rows that a view without a trigger leaves where they are.
    claims_by_view=False,
    begin="BEGIN",
    # There is no other zone than UTC here.
    local_clock="CURRENT_TIMESTAMP",
    data_version="PRAGMA {}.data_version",
    server_faults=(
        8,  # READONLY
        10,  # IOERR
        11,  # CORRUPT
        13,  # FULL
        14,  # CANTOPEN
    ),
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
