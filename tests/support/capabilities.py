"""What each database of the matrix can do: the one table of expected differences.

A test asks for what it needs, ``@pytest.mark.requires("row_locks")``, and never for
a database by name. What needs no database at all is marked ``@pytest.mark.once``, and
runs in one row only. The run is red when a test is skipped for any other reason, and
when a capability that a row lacks made no test skip.
"""

import re
from dataclasses import dataclass
from typing import Any

_EVERY_LEVEL = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

#: Each name that a test may require, and what it stands for.
MEANINGS = {
    "skip_locked": "a statement can pass over rows that another one has locked",
    "row_locks": "a statement can lock the rows it reads",
    "concurrent_writers": "a writer doesn't stop the writers of other rows",
    "isolation_levels": "transactions can be told how isolated they are",
    "vacuum": "deleted rows take up space until a command removes them",
    "partitions": "rows of one table can lie at the same place of different tables",
    "late_constraints": "a constraint can wait for the commit, or be asked before",
    "suppressed_deletes": "a trigger can leave a row undeleted, without an error",
    "deletes_by_view": "rows can be claimed and deleted through a view",
    "claims_from_tables": "rows are claimed and deleted in a way that needs a table",
    "row_level_security": "policies can hide rows from a user",
    "in_memory": "a database can live in the memory of its process",
    "journal_modes": "its journal can be chosen, such as a log that is written ahead",
    "deadlocks": "transactions can wait for each other until one is told to give up",
    "stale_writes_fail": "it can refuse to overwrite what hasn't been seen",
    "commit_conflicts": "COMMIT itself can find that a race has been lost",
    "lock_timeouts": "who has waited too long for a lock is told to try again",
    "roles": "users can be granted some rights on a table, and not others",
    "explain_analyze": "it can execute a write to explain it",
    "deferred_keys": "a foreign key can be checked at the COMMIT only",
    "notifications": "a transaction can tell others that it has been committed",
    "round_trips": "a client waits for a server that may be far away",
    "storage_engines": "a table can be of a kind that has no transactions",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the matrix: a database, from one of its versions on."""

    dialect: str
    since: tuple[int, ...] = ()
    capabilities: frozenset[str]
    levels: tuple[str, ...] = _EVERY_LEVEL
    #: Whether the tests that need no database are run here.
    runs_once: bool = False

    @property
    def missing(self) -> frozenset[str]:
        """The capabilities that this row lacks."""
        return frozenset(MEANINGS) - self.capabilities


_SERVER = {
    "skip_locked",
    "row_locks",
    "concurrent_writers",
    "isolation_levels",
    "deadlocks",
    "round_trips",
    "rows_read",
    "roles",
}
_MYSQL = {*_SERVER, "deletes_by_view", "lock_timeouts", "storage_engines"}
_MARIADB = {*_MYSQL, "stale_writes_fail"}

ROWS = (
    Row(
        dialect="sqlite",
        capabilities=frozenset(
            {
                "in_memory",
                "claims_from_tables",
                "suppressed_deletes",
                "journal_modes",
                "stale_writes_fail",
                "commit_conflicts",
                "lock_timeouts",
                "deferred_keys",
            }
        ),
        levels=(),
        runs_once=True,
    ),
    Row(
        dialect="postgresql",
        capabilities=frozenset(
            {
                *_SERVER,
                "stale_writes_fail",
                "commit_conflicts",
                "read_only",
                "row_level_security",
                "late_constraints",
                "sqlstates",
                "vacuum",
                "partitions",
                "claims_from_tables",
                "suppressed_deletes",
                "deferred_keys",
                "explain_analyze",
                "notifications",
            }
        ),
    ),
    Row(dialect="mysql", capabilities=frozenset(_MYSQL)),
    Row(dialect="mariadb", capabilities=frozenset(_MARIADB)),
)

#: The isolation levels of each database, which don't depend on its version.
LEVELS = {row.dialect: row.levels for row in ROWS}

#: How many statements of ours begin a transaction, where the driver is not to.
BEGINS = {"sqlite": 1, "postgresql": 0, "mysql": 0, "mariadb": 0}
#: How many statements begin the transaction of a burst, claim, and delete.
STATEMENTS_PER_BURST = {"sqlite": 2, "postgresql": 1, "mysql": 2, "mariadb": 2}
#: How often a burst has to wait for the server. On PostgreSQL the drivers send a BEGIN
#: of its own, then the claim deletes; on the others there are two statements. COMMIT.
ROUND_TRIPS_PER_BURST = {"postgresql": 3, "mysql": 3, "mariadb": 3}
#: And a pass that finds nothing: one statement and a ROLLBACK, after a BEGIN or between
#: two statements each that change the isolation level; the pool rolls back once more.
ROUND_TRIPS_PER_EMPTY_PASS = {"postgresql": 3, "mysql": 7, "mariadb": 7}

_HANDLER_READS = (
    "SELECT SUM(variable_value) FROM {}.session_status"
    " WHERE variable_name LIKE 'Handler_read%'"
)
#: What tells how many rows a connection has read lately. The driver of SQLite counts
#: instructions instead.
ROWS_READ = {
    "postgresql": (
        "SELECT SUM(COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0))"
        " FROM pg_stat_xact_user_tables"
    ),
    "mysql": _HANDLER_READS.format("performance_schema"),
    "mariadb": _HANDLER_READS.format("information_schema"),
}

#: What has the optimizer learn about a table.
ANALYZE = {
    "postgresql": "ANALYZE {}",
    "mysql": "ANALYZE TABLE {}",
    "mariadb": "ANALYZE TABLE {}",
}

#: Indexes of the columns 'a', a text, and 'n' in whose order rows cannot be found.
UNUSABLE_INDEXES = {
    "sqlite": (
        "CREATE INDEX mixed ON letter (a, n DESC)",
        "CREATE UNIQUE INDEX partial ON letter (a, n) WHERE n > 0",
        "CREATE UNIQUE INDEX expression ON letter (a, abs(n))",
        "CREATE UNIQUE INDEX compared ON letter (a COLLATE NOCASE, n)",
        "CREATE UNIQUE INDEX longer ON letter (a, n, text)",
    ),
    "postgresql": (
        "CREATE INDEX mixed ON letter (a, n DESC)",
        "CREATE INDEX nulls ON letter (a NULLS FIRST, n NULLS FIRST)",
        "CREATE UNIQUE INDEX partial ON letter (a, n) WHERE n > 0",
        "CREATE UNIQUE INDEX expression ON letter (a, abs(n))",
        'CREATE UNIQUE INDEX compared ON letter (a COLLATE "C", n)',
        "CREATE UNIQUE INDEX operators ON letter (a text_pattern_ops, n)",
        "CREATE INDEX unsorted ON letter USING brin (a, n)",
        "CREATE UNIQUE INDEX longer ON letter (a, n, text)",
    ),
    "mysql": (
        "CREATE INDEX mixed ON letter (a, n DESC)",
        "CREATE INDEX prefix ON letter (a(1), n)",
        "CREATE UNIQUE INDEX expression ON letter (a, (abs(n)))",
        "CREATE INDEX invisible ON letter (a, n) INVISIBLE",
        "CREATE UNIQUE INDEX longer ON letter (a, n, text)",
    ),
    "mariadb": (
        "CREATE INDEX mixed ON letter (a, n DESC)",
        "CREATE INDEX prefix ON letter (a(1), n)",
        "CREATE INDEX ignored ON letter (a, n) IGNORED",
        "CREATE UNIQUE INDEX longer ON letter (a, n, text)",
    ),
}

#: Rules by which a database can compare text.
COLLATIONS = {
    "sqlite": ("BINARY", "NOCASE", "RTRIM", "backwards"),
    "postgresql": ("C", "und-x-icu"),
    "mysql": ("utf8mb4_bin", "utf8mb4_0900_ai_ci"),
    "mariadb": ("utf8mb4_bin", "utf8mb4_general_ci"),
}

#: How a schema comes into being; on SQLite for as long as its connection lives.
CREATE_SCHEMA = {
    "sqlite": "ATTACH ':memory:' AS {}",
    "postgresql": "CREATE SCHEMA {}",
    "mysql": "CREATE SCHEMA {}",
    "mariadb": "CREATE SCHEMA {}",
}

#: What suppresses the deletion of the second row of a table.
SUPPRESS_DELETE = {
    "sqlite": [
        "CREATE TRIGGER keep BEFORE DELETE ON kept WHEN old.id = 2"
        " BEGIN SELECT RAISE(IGNORE); END",
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF old.id = 2 THEN RETURN NULL; END IF; RETURN old; END'",
        "CREATE TRIGGER keep BEFORE DELETE ON kept"
        " FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
}

#: Unique indexes of two columns that do not hold all of each row.
PARTIAL_INDEXES = {
    "sqlite": ("(a, b) WHERE b > 1", "(lower(a), b)"),
    "postgresql": ("(a, b) WHERE b > 1", "(lower(a), b)"),
    "mysql": ("(a(2), b)", "((lower(a)), b)"),
    "mariadb": ("(a(2), b)",),
}

#: How a user is made who has some rights on a table, and how it vanishes again.
CREATE_USER = {
    "postgresql": (
        "CREATE ROLE {user} LOGIN PASSWORD 'secret'",
        "GRANT USAGE ON SCHEMA public TO {user}",
        "GRANT {rights} ON {table} TO {user}",
    ),
    "mysql": (
        "CREATE USER {user} IDENTIFIED BY 'secret'",
        "GRANT {rights} ON {table} TO {user}",
    ),
    "mariadb": (
        "CREATE USER {user} IDENTIFIED BY 'secret'",
        "GRANT {rights} ON {table} TO {user}",
    ),
}
DROP_USER = {
    "postgresql": ("DROP OWNED BY {user}", "DROP ROLE {user}"),
    "mysql": ("DROP USER {user}",),
    "mariadb": ("DROP USER {user}",),
}

#: Rights that are not enough for a flush, and the statement that is refused for it.
POOR_RIGHTS = {
    "postgresql": {
        "DELETE": "SELECT",
        "SELECT, DELETE": "SELECT … FOR UPDATE",
        "SELECT, UPDATE": "DELETE",
    },
    "mysql": {"SELECT": "SELECT … FOR UPDATE", "SELECT, UPDATE": "DELETE"},
    "mariadb": {"SELECT, UPDATE": "DELETE"},
}
RIGHTS = {
    "postgresql": "SELECT, UPDATE, DELETE",
    "mysql": "SELECT, DELETE",
    "mariadb": "SELECT, DELETE",
}

#: How a new connection, or all of the server, is told to write nothing.
READ_ONLY = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": ("SET default_transaction_read_only = on", "SELECT 1"),
    "mysql": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
    "mariadb": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
}

#: How a pooler that drops what an engine has asked for leaves a connection.
FORGET_LEVEL = {
    "postgresql": "SET default_transaction_isolation = 'read committed'",
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "mariadb": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
}
#: How an engine asks for serializable transactions, such that it can be dropped.
ASK_FOR_LEVEL: dict[str, dict[str, Any]] = {
    "postgresql": {
        "connect_args": {"options": "-c default_transaction_isolation=serializable"}
    },
    "mysql": {"isolation_level": "SERIALIZABLE"},
    "mariadb": {"isolation_level": "SERIALIZABLE"},
}

#: How a connection learns its number, and how another one ends it.
SESSION_ID = {
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT connection_id()",
    "mariadb": "SELECT connection_id()",
}
KILL = {
    "postgresql": "SELECT pg_terminate_backend({}, 5000)",
    "mysql": "KILL {}",
    "mariadb": "KILL {}",
}

_KILL_OTHERS_ON_MYSQL = (
    "SELECT concat('KILL ', id) FROM information_schema.processlist"
    " WHERE db = database() AND id <> connection_id()"
)
#: What yields the statements that end all other connections to a database.
KILL_OTHERS = {
    "postgresql": (
        "SELECT 'SELECT pg_terminate_backend(' || pid || ', 5000)'"
        " FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ),
    "mysql": _KILL_OTHERS_ON_MYSQL,
    "mariadb": _KILL_OTHERS_ON_MYSQL,
}


def row_of(dialect: str, version: str) -> Row:
    """Return the row of a database of a version, as ``"10.11.19"``."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version))
    rows = [row for row in ROWS if row.dialect == dialect and row.since <= numbers]
    return max(rows, key=lambda row: row.since)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A trigger that refuses to delete rows of a table, by an error of a code."""

    create: list[str]
    drop: list[str]
    #: What blames the row, and what says that the disk is full.
    row: str
    full: str = ""


_SIGNAL_ERROR = Refusal(
    create=[
        "CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW"
        " BEGIN IF {when} THEN SIGNAL SQLSTATE {code}; END IF; END"
    ],
    drop=["DROP TRIGGER refuse"],
    row="'45000'",
    full="'HY000' SET MYSQL_ERRNO = 1021",
)
REFUSE_DELETE = {
    "sqlite": Refusal(
        create=[
            "CREATE TRIGGER refuse BEFORE DELETE ON {table} WHEN {when}"
            " BEGIN SELECT RAISE({code}); END"
        ],
        drop=["DROP TRIGGER refuse"],
        row="ABORT, 'refused'",
    ),
    "postgresql": Refusal(
        create=[
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF {when} THEN RAISE 'refused' USING ERRCODE = {code}; END IF;"
            " RETURN old; END $$",
            "CREATE TRIGGER refuse BEFORE DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse()",
        ],
        drop=["DROP TRIGGER refuse ON {table}"],
        row="'P0001'",
        full="'53100'",
    ),
    "mysql": _SIGNAL_ERROR,
    "mariadb": _SIGNAL_ERROR,
}

#: What refuses rows of the table of tags at the commit, where constraints can wait.
AT_COMMIT = [
    "CREATE OR REPLACE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN IF {when} THEN RAISE 'too late' USING ERRCODE = '{code}'; END IF;"
    " RETURN new; END $$",
    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON tag"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
]

#: What has a connection take no writes, in the transactions that follow.
BE_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET default_transaction_read_only = on",
    "mysql": "SET SESSION transaction_read_only = 1",
    "mariadb": "SET SESSION tx_read_only = 1",
}

#: A user with few rights, in a database ``{}``.
READER = "signalbus_reader"
#: What the user logs in with, where it must have one.
READER_PASSWORDS = {"postgresql": READER}
_ADD_MYSQL_READER = [f"CREATE USER {READER}@'%%'"]
ADD_READER = {
    "postgresql": [f"CREATE ROLE {READER} LOGIN PASSWORD '{READER}'"],
    "mysql": _ADD_MYSQL_READER,
    "mariadb": _ADD_MYSQL_READER,
}
GRANT_TO_READER = {
    "postgresql": f"GRANT {{}} TO {READER}",
    "mysql": f"GRANT {{}} TO {READER}@'%%'",
    "mariadb": f"GRANT {{}} TO {READER}@'%%'",
}
_DROP_MYSQL_READER = [f"DROP USER {READER}@'%%'"]
DROP_READER = {
    "postgresql": [f"DROP OWNED BY {READER}", f"DROP ROLE {READER}"],
    "mysql": _DROP_MYSQL_READER,
    "mariadb": _DROP_MYSQL_READER,
}
