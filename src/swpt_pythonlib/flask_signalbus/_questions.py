"""What each database is asked about itself when its tables are inspected, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Queries whose answer is a column of texts; where all is well, it is empty.

    They may refer to ``:table``, the quoted name of a table, to its ``:name``, and to
    its ``:schema``, which may be null.

    :param read_only: Why nothing can be written.
    :param deferred_keys: Which foreign keys forbid to delete rows of the table, but
        say so at COMMIT only.
    :param other_engine: The storage engine of the table, if it has no transactions.
    :param binary_log: The format of the binary log, if it refuses flushes.
    :param default_level: The isolation level of transactions that ask for none, where
        it can be set by an option of the connection.
    :param missing_policies: The statements that find no row, whatever their rights.
    :param rights: What a flusher has to be granted, in words.
    """

    read_only: str | None = None
    deferred_keys: str | None = None
    other_engine: str | None = None
    binary_log: str | None = None
    default_level: str | None = None
    missing_policies: str | None = None
    rights: str = "the right to read, lock and delete rows"


_MYSQL = Questions(
    # Before MariaDB 12 it is a number, which a comparison with 'OFF' would convert.
    read_only=(
        "SELECT 'read_only is on' FROM DUAL"
        " WHERE CONCAT(@@global.read_only) NOT IN ('0', 'OFF')"
    ),
    other_engine=(
        "SELECT engine FROM information_schema.tables"
        " WHERE table_schema = COALESCE(:schema, DATABASE())"
        " AND table_name = :name AND engine <> 'InnoDB'"
    ),
    binary_log=(
        "SELECT @@binlog_format FROM DUAL"
        " WHERE @@log_bin AND @@binlog_format = 'STATEMENT'"
    ),
    rights="GRANT SELECT, DELETE on the table",
)

_POSTGRESQL = Questions(
    read_only=(
        "SELECT 'pg_is_in_recovery() is true: it is a standby'"
        " WHERE pg_is_in_recovery()"
        " UNION ALL SELECT 'transaction_read_only is on'"
        " WHERE current_setting('transaction_read_only') = 'on'"
    ),
    # Other actions than NO ACTION are never deferred.
    deferred_keys=(
        "SELECT CAST(CAST(conrelid AS regclass) AS text) || '.' || conname"
        " FROM pg_catalog.pg_constraint WHERE contype = 'f' AND condeferred"
        " AND confdeltype = 'a' AND confrelid = to_regclass(:table)"
    ),
    default_level="SELECT current_setting('default_transaction_isolation')",
    # Policies are permissive or take away from what others permit; role 0 is everybody.
    missing_policies=(
        "SELECT name"
        " FROM (VALUES ('r', 'SELECT'), ('w', 'UPDATE'), ('d', 'DELETE'))"
        " AS statement (code, name)"
        " WHERE row_security_active(CAST(to_regclass(:table) AS oid))"
        " AND NOT EXISTS (SELECT FROM pg_policy, unnest(polroles) AS role"
        " WHERE polrelid = to_regclass(:table) AND polpermissive"
        " AND polcmd IN (CAST(code AS \"char\"), '*')"
        " AND (role = 0 OR pg_has_role(role, 'USAGE')))"
    ),
    rights="GRANT SELECT, UPDATE, DELETE on the table",
)

_SQLITE = Questions(
    read_only="SELECT 'query_only is on' FROM pragma_query_only WHERE query_only",
    # It does not tell which of a table's keys are deferred. But a key that forbids
    # the deletion, and is not deferred, is a fault anyway.
    deferred_keys=(
        "SELECT DISTINCT child.name || '.' || foreign_key.\"from\""
        " FROM sqlite_master AS child,"
        " pragma_foreign_key_list(child.name) AS foreign_key"
        " WHERE child.type = 'table' AND child.sql LIKE '%INITIALLY%DEFERRED%'"
        ' AND foreign_key."table" = :name COLLATE NOCASE'
        " AND foreign_key.on_delete = 'NO ACTION'"
    ),
    rights="make the file and its folder writable",
)

_BY_NAME = {
    "mariadb": _MYSQL,
    "mysql": _MYSQL,
    "postgresql": _POSTGRESQL,
    "sqlite": _SQLITE,
}
_UNKNOWN = Questions()


def questions_for(dialect: Dialect) -> Questions:
    """Return what a database can be asked, nothing if it is not known."""
    return _BY_NAME.get(dialect.name, _UNKNOWN)


def startup_options(connection: Connection) -> str:
    """Return the options that the driver has sent to PostgreSQL when it connected."""
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    if hasattr(info, "get_parameters"):  # psycopg
        return str(info.get_parameters().get("options", ""))

    parameters = getattr(info, "dsn_parameters", {})  # psycopg2
    return str(parameters.get("options", ""))
