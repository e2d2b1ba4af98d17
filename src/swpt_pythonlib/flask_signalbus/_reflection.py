"""What only the database knows of a signal table: its index, types, constraints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Index,
    MetaData,
    Table,
    inspect,
    text,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.schema import CreateIndex

from ._catalogues import (
    PRIMARY,
    indexes_of,
    names_of,
    plain_dialect,
    types_of,
)
from ._catalogues import Index as CatalogueIndex
from ._dialects import traits_of
from ._logs import facts, logger
from ._models import SignalTable


@dataclass(frozen=True)
class TableFacts:
    """What a flush has to know of a table in one database.

    :param key: The names of the columns of the key, in the order of the index that
        has them.
    :param collations: By what each of them is compared, ``None`` if by its bytes, or if
        it does not matter outside of the database.
    :param types: What each of them is, whatever the model declares, ``None`` if that is
        not known, or does not matter.
    :param index: The name of that index, ``None`` if there is none.
    :param is_underestimated: Whether the database believes the table to be empty.
    :param is_alone: Whether all rows are known to lie in this table, and not in parts
        or children of it.
    :param late_constraints: The names of constraints that the database would check at
        the commit only, quoted.
    """

    key: tuple[str, ...]
    collations: tuple[str | None, ...]
    types: tuple[str | None, ...]
    index: str | None = None
    is_underestimated: bool = False
    is_alone: bool = False
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
        collations = (getattr(c.type, "collation", None) for c in signals.key)
        index = PRIMARY if is_primary else None
        types = (None,) * len(names)
        return cls(names, tuple(collations), types, index, is_alone=True)


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
    place = (signals.table, connection.schema_for_object(signals.table))
    if place not in known:
        try:
            known[place] = _reflect(signals, connection)
        except NoSuchTableError:
            # The flush is about to raise what the database says of it.
            return TableFacts.as_declared(signals)
        finally:
            # MySQL's dialect has the connection hide errors from listeners while it
            # looks for a table, and leaves it at that.
            connection.execution_options(skip_user_error_events=False)

    return known[place]


def forget_facts(connection: Connection) -> None:
    """Look at the tables of an engine anew: they may have been changed."""
    _KNOWN.pop(connection.dialect, None)


def is_view(table: Table, connection: Connection) -> bool:
    """Tell whether there is a view in the place of a table."""
    schema = connection.schema_for_object(table)
    return table.name in inspect(connection).get_view_names(schema)


def answers_about(table: Table, query: str | None, connection: Connection) -> list[Any]:
    """Ask the database about a table, if it can be asked that.

    :param query: It may refer to the table by the parameters of ``names_of``.
    """
    if query is None:
        return []

    return list(connection.scalars(text(query), names_of(connection, table)))


def _reflect(signals: SignalTable, connection: Connection) -> TableFacts:
    def ask(query: str | None) -> list[Any]:
        return answers_about(signals.table, query, connection)

    traits = traits_of(connection.dialect)
    facts = replace(TableFacts.as_declared(signals), index=None)
    for index in key_indexes(signals, connection):
        key, collations = index.columns, index.collations
        facts = replace(facts, key=key, collations=collations, index=index.name)
        break
    else:
        _warn(signals, connection)

    types = types_of(connection, signals.table)
    return replace(
        facts,
        types=tuple(types.get(c) or types.get(c.lower()) for c in facts.key),
        is_alone=all(ask(traits.lies_alone)),
        late_constraints=tuple(ask(traits.late_constraints)),
    )


def key_indexes(
    signals: SignalTable, connection: Connection
) -> Iterator[CatalogueIndex]:
    """Yield the indexes that have exactly the columns of the key, in any order."""
    # Databases that fold names to one case list them in theirs.
    folded = {column.name.lower(): column.name for column in signals.key}
    names = folded | {column.name: column.name for column in signals.key}
    schema = connection.schema_for_object(signals.table)
    for index in indexes_of(connection, signals.table, schema):
        key = tuple(names.get(c) or names.get(c.lower(), "") for c in index.columns)
        if sorted(key) == sorted(column.name for column in signals.key):
            yield replace(index, columns=key)


def _warn(signals: SignalTable, connection: Connection) -> None:
    """Say which index is missing; if there is no table, let the flush say so."""
    schema = connection.schema_for_object(signals.table)
    if not inspect(connection).has_table(signals.table.name, schema):
        raise NoSuchTableError(signals.table.name)
    if is_view(signals.table, connection):
        if traits_of(connection.dialect).claims_by_view:
            # It has no index of its own, and those of its tables cannot be known.
            return

        raise RuntimeError(
            f"The signals of '{signals.name}' cannot be deleted, because"
            f" '{signals.table.fullname}' is a view; map the model to the table itself."
        )

    logger.warning(
        "No index of the table '%s' has exactly the columns of the key of '%s' (%s), so"
        " each burst sorts all that is pending. Create one: %s",
        signals.table.fullname,
        signals.name,
        ", ".join(column.name for column in signals.key),
        _missing_index(signals, connection.dialect, schema),
        extra=facts(model=signals.name),
    )


def _missing_index(signals: SignalTable, dialect: Dialect, schema: str | None) -> str:
    """Return the statement that creates the index."""
    convention = {"ix": "ux_%(table_name)s_%(column_0_N_name)s"}
    # The model's own table would take the index for one of its own.
    metadata = MetaData(naming_convention=convention)
    columns = [Column[Any](column.name) for column in signals.key]
    copy = Table(signals.table.name, metadata, *columns, schema=schema)
    statement = CreateIndex(Index(None, *copy.columns, unique=True))
    return str(statement.compile(dialect=plain_dialect(dialect))).strip()
