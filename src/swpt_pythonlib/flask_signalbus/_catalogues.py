"""The indexes and columns of a table, as the catalogue of each database lists them.

SQLAlchemy's inspector does not tell all that matters: whether MySQL can see an index,
in which direction SQLite keeps a column, by which rules either compares text. It warns
of types that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table, inspect, text

#: The name of the index of a primary key, where it can be told by name.
PRIMARY = "PRIMARY"


@dataclass(frozen=True)
class Index:
    """An index that has all rows, in the order of its columns, or in the opposite one.

    :param columns: The names of the columns, as the catalogue has them.
    :param collations: By what each column is compared, ``None`` if by its bytes, or if
        it does not matter outside of the database.
    :param is_unique: Whether no two rows have the same values, not even NULLs.
    """

    name: str
    columns: tuple[str, ...]
    collations: tuple[str | None, ...]
    is_unique: bool


@dataclass(frozen=True)
class _Part:
    """A column of an index, ``None`` if the index does not order rows by one."""

    index: str
    is_unique: bool
    column: str | None
    is_descending: bool = False
    collation: str | None = None


def indexes_of(
    connection: Connection, table: Table, schema: str | None
) -> Iterator[Index]:
    """Yield the indexes by whose order rows can be found, the primary key first.

    Unique indexes precede others.

    :raises sqlalchemy.exc.DBAPIError: If there is no such table, perhaps.
    """
    list_parts = _CATALOGUES.get(connection.dialect.name, _primary_key)
    parts = list_parts(connection, table, schema)
    for name, group in groupby(parts, attrgetter("index")):
        yield from _as_index(name, list(group))


def _as_index(name: str, parts: list[_Part]) -> Iterator[Index]:
    columns = tuple(part.column for part in parts if part.column is not None)
    has_one_direction = len({part.is_descending for part in parts}) == 1
    if has_one_direction and len(columns) == len(parts):
        collations = tuple(part.collation for part in parts)
        is_unique = all(part.is_unique for part in parts)
        yield Index(name, columns, collations, is_unique)


def plain_dialect(dialect: Dialect) -> Dialect:
    """Return a dialect that writes SQL for people: it does not double each '%'."""
    dialect_class: Any = type(dialect)
    return dialect_class(paramstyle="named")  # type: ignore[no-any-return]


def quoted(dialect: Dialect, *names: str | None) -> str:
    """Return the identifier of what is in a schema, say, if there is one."""
    quote = plain_dialect(dialect).identifier_preparer.quote
    return ".".join(quote(name) for name in names if name)


def name_on(connection: Connection, table: Table) -> str:
    """Return the quoted name of a table, with its schema."""
    return quoted(connection.dialect, connection.schema_for_object(table), table.name)


def names_of(connection: Connection, table: Table) -> dict[str, str | None]:
    """Return the parameters by which a query can refer to a table.

    They are the quoted name ``:table``, ``:name``, and ``:schema``, which may be null.
    """
    schema = connection.schema_for_object(table)
    return {"table": name_on(connection, table), "name": table.name, "schema": schema}


def as_text(sql: str) -> str:
    """Return a part of a text, in which a colon would begin a bind."""
    return sql.replace(":", r"\:")


def _primary_key(
    connection: Connection, table: Table, schema: str | None
) -> Iterable[_Part]:
    """List what is known of any database."""
    key = inspect(connection).get_pk_constraint(table.name, schema)
    return [_Part(PRIMARY, True, column) for column in key["constrained_columns"]]


# An option of a column is 0 for ASC NULLS LAST and 3 for its opposite; no other one
# serves an ORDER BY without NULLS.
_POSTGRESQL = text("""
    SELECT
      CASE WHEN indisprimary THEN 'PRIMARY' ELSE pg_class.relname END,
      indisunique AND attnotnull,
      CASE WHEN indoption[n - 1] IN (0, 3)
        AND indcollation[n - 1] = attcollation AND opcdefault THEN attname END,
      indoption[n - 1] = 3
    FROM pg_index
    JOIN pg_class ON pg_class.oid = indexrelid
    JOIN pg_am ON pg_am.oid = relam AND amname = 'btree'
    CROSS JOIN generate_series(1, indnkeyatts) AS n
    JOIN pg_opclass ON pg_opclass.oid = indclass[n - 1]
    LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[n - 1]
    WHERE indrelid = to_regclass(:table) AND indisvalid AND indpred IS NULL
    ORDER BY indisprimary DESC, indisunique DESC, pg_class.relname, n
""")


def _postgresql(
    connection: Connection, table: Table, schema: str | None
) -> Iterable[_Part]:
    name = quoted(connection.dialect, schema, table.name)
    return (_Part(*row) for row in connection.execute(_POSTGRESQL, {"table": name}))


def _mysql(connection: Connection, table: Table, schema: str | None) -> Iterable[_Part]:
    name = as_text(quoted(connection.dialect, schema, table.name))
    rows = connection.execute(text(f"SHOW INDEX FROM {name}")).mappings().all()
    # The server lists the primary key first, then what is unique.
    for row in rows:
        is_orderly = (
            row["Index_type"] == "BTREE"
            and row["Sub_part"] is None
            # MySQL calls an index that it does not use invisible, MariaDB ignored.
            and row.get("Visible", "YES") == "YES"
            and row.get("Ignored", "NO") == "NO"
        )
        column = row["Column_name"] if is_orderly else None
        is_unique = row["Non_unique"] == 0 and row["Null"] != "YES"
        yield _Part(row["Key_name"], is_unique, column, row["Collation"] == "D")


# An INTEGER PRIMARY KEY has no index: the table itself is sorted by it.
_SQLITE = text("""
    SELECT NULL, name, NULL, true, 0 AS place, 0 AS n
    FROM pragma_table_info(:table, :schema)
    WHERE pk AND NOT EXISTS (
      SELECT * FROM pragma_index_list(:table, :schema) WHERE origin = 'pk'
    )
    UNION ALL
    SELECT
      list.name, info.name, nullif(coll, 'BINARY'),
      origin = 'pk' OR ("unique" AND "notnull"),
      iif(origin = 'pk', 0, 2 - "unique"), seqno
    FROM pragma_index_list(:table, :schema) AS list
    JOIN pragma_index_xinfo(list.name, :schema) AS info
    LEFT JOIN pragma_table_info(:table, :schema) AS facts ON facts.name = info.name
    WHERE NOT partial AND "key"
    ORDER BY place, 1, n
""")


def _sqlite(
    connection: Connection, table: Table, schema: str | None
) -> Iterable[_Part]:
    values = {"table": table.name, "schema": schema}
    rows = connection.execute(_SQLITE, values).all()
    for name, group in groupby(rows, itemgetter(0)):
        _, columns, collations, are_unique, places, _ = zip(*group, strict=True)
        index = PRIMARY if places[0] == 0 else name
        if name is None or _is_in_order(connection, table, schema, name, columns):
            parts = (repeat(index), are_unique, columns, repeat(False), collations)
            yield from map(_Part, *parts)


def _is_in_order(
    connection: Connection,
    table: Table,
    schema: str | None,
    index: str,
    columns: Sequence[str | None],
) -> bool:
    """Tell whether SQLite need not sort what it finds in an index.

    An index can have directions, and may compare otherwise than its table does.
    """
    if None in columns:
        return False

    quote = partial(quoted, connection.dialect)
    keys = ", ".join(quote(column) for column in columns)
    plan = (
        f"EXPLAIN QUERY PLAN SELECT 1 FROM {quote(schema, table.name)}"
        f" INDEXED BY {quote(index)} ORDER BY {keys}"
    )
    steps = connection.execute(text(as_text(plan))).all()
    return not any("TEMP B-TREE" in step[-1] for step in steps)


_Catalogue = Callable[[Connection, Table, str | None], Iterable[_Part]]
_CATALOGUES: dict[str, _Catalogue] = {
    "mariadb": _mysql,
    "mysql": _mysql,
    "postgresql": _postgresql,
    "sqlite": _sqlite,
}

_MYSQL_TYPES = text("""
    SELECT lower(column_name), column_type FROM information_schema.columns
    WHERE table_name = :name AND table_schema = COALESCE(:schema, DATABASE())
""")
_TYPES = {
    "mariadb": _MYSQL_TYPES,
    "mysql": _MYSQL_TYPES,
    "postgresql": text("""
        SELECT attname, format_type(atttypid, -1) FROM pg_attribute
        WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
    """),
}


def types_of(connection: Connection, table: Table) -> dict[str, str]:
    """Return the types of columns, as the database writes them, if they matter to it.

    Names that do not differ by case are in lower case.
    """
    query = _TYPES.get(connection.dialect.name)
    if query is None:
        return {}

    return dict(map(tuple, connection.execute(query, names_of(connection, table))))
