"""What only the database knows of a signal table: its index, and late constraints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Table, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import NoSuchTableError

from ._dialects import traits_of
from ._models import SignalTable

#: The name of the index of a primary key, where it can be told by name.
PRIMARY = "PRIMARY"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableFacts:
    """What a flush has to know of a table in one database.

    :param key: The names of the columns of the key, in the order of the index that
        has them.
    :param index: The name of that index, ``None`` if there is none.
    :param late_constraints: The names of constraints that the database would check at
        the commit only, quoted.
    """

    key: tuple[str, ...]
    index: str | None = None
    late_constraints: tuple[str, ...] = ()

    @property
    def has_primary_key(self) -> bool:
        """Whether the key of the model is the primary key of the table."""
        return self.index == PRIMARY

    @classmethod
    def as_declared(cls, signals: SignalTable) -> TableFacts:
        """Return what is to be expected of a table that ``create_all`` has made."""
        is_primary = set(signals.key) == set(signals.table.primary_key)
        names = tuple(column.name for column in signals.key)
        return cls(names, PRIMARY if is_primary else None)


# A dialect belongs to one engine, and to those that share its pool.
_KNOWN: WeakKeyDictionary[Dialect, dict[tuple[Table, str | None], TableFacts]] = (
    WeakKeyDictionary()
)


def facts_of(signals: SignalTable, connection: Connection) -> TableFacts:
    """Look at the table in the database, once for each engine.

    A migration, or an explicit constraint, orders the columns of a key in another way
    than ``create_all`` does; a flush that sorts by the key must follow the index.
    """
    known = _KNOWN.setdefault(connection.dialect, {})
    place = (signals.table, schema_on(connection, signals.table))
    if place not in known:
        try:
            known[place] = _reflect(signals, connection)
        except NoSuchTableError:
            # The flush is about to raise what the database says of it.
            return TableFacts.as_declared(signals)

    return known[place]


def schema_on(connection: Connection, table: Table) -> str | None:
    """Return the schema of a table, translated as SQLAlchemy translates it."""
    names = connection.get_execution_options().get("schema_translate_map") or {}
    return names.get(table.schema, table.schema)


def _reflect(signals: SignalTable, connection: Connection) -> TableFacts:
    declared = TableFacts.as_declared(signals)
    key, index = next(_indexes(signals, connection), (None, None))
    if key is None:
        columns = ", ".join(declared.key)
        logger.warning(
            "No index of the table '%s' has exactly the columns of the key of '%s', so"
            " each burst sorts all that is pending. Create one: CREATE UNIQUE INDEX ON"
            " %s (%s).",
            signals.table.fullname,
            signals.name,
            signals.table.fullname,
            columns,
        )

    return TableFacts(
        key or declared.key, index, tuple(_late_constraints(signals, connection))
    )


def _indexes(
    signals: SignalTable, connection: Connection
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the indexes that have exactly the columns of the key, the best first."""
    inspector = inspect(connection)
    table = (signals.table.name, schema_on(connection, signals.table))
    candidates: list[tuple[Sequence[Any], str]] = [
        (inspector.get_pk_constraint(*table)["constrained_columns"], PRIMARY)
    ]
    indexes = [index for index in inspector.get_indexes(*table) if _is_plain(index)]
    indexes.sort(key=lambda index: not index["unique"])
    candidates += ((index["column_names"], index["name"] or "") for index in indexes)
    candidates += (
        (constraint["column_names"], constraint["name"] or "")
        for constraint in inspector.get_unique_constraints(*table)
    )
    # Databases that fold names to one case reflect them in theirs.
    names = {column.name.lower(): column.name for column in signals.key}
    for columns, index in candidates:
        folded = [str(column).lower() for column in columns]
        if sorted(folded) == sorted(names):
            yield tuple(names[column] for column in folded), index


def _is_plain(index: ReflectedIndex) -> bool:
    """Tell whether an index has all rows, in the order of its columns."""
    directions = index.get("column_sorting", {}).values()
    descending = sum("desc" in direction for direction in directions)
    options = index.get("dialect_options", {})
    return (
        not index.get("expressions")
        and descending in (0, len(index["column_names"]))
        and not any(name.endswith(("_where", "_length", "_prefix")) for name in options)
        and options.get("postgresql_using", "btree") == "btree"
    )


def _late_constraints(signals: SignalTable, connection: Connection) -> list[str]:
    query = traits_of(connection.dialect).late_constraints
    if query is None:
        return []

    # The dialect in use would double each '%', as for a statement.
    dialect_class: Any = type(connection.dialect)
    quote = dialect_class(paramstyle="named").identifier_preparer.quote
    parts = filter(None, (schema_on(connection, signals.table), signals.table.name))
    name = ".".join(quote(part) for part in parts)
    return list(connection.scalars(text(query), {"table": name}))
