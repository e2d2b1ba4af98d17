"""What a signal model is, and where its signals lie."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    FromClause,
    Label,
    Row,
    Select,
    Table,
    func,
    inspect,
    select,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import UnmappedColumnError

Model = type[Any]

SINGLE_SENDER = "send_signalbus_message"
BULK_SENDER = "send_signalbus_messages"

logger = logging.getLogger(__name__)

#: Names that SQLAlchemy's ``Row`` defines; a column so named would be shadowed.
RESERVED_NAMES = frozenset(dir(Row)) - {"count", "index"}


def is_signal_model(model: object) -> bool:
    """Tell whether a class is mapped to a table and says how to send its rows."""
    return (
        isinstance(model, type)
        and hasattr(model, SINGLE_SENDER)
        and inspect(model, raiseerr=False) is not None
    )


def signal_models_of(db: SQLAlchemy) -> list[Model]:
    """Return all signal models of a database, sorted by name."""
    base: Any = db.Model  # whichever declarative base the application has chosen
    mapped = (mapper.class_ for mapper in base.registry.mappers)
    return sorted(
        (model for model in mapped if is_signal_model(model)),
        key=lambda model: (model.__name__, model.__module__, model.__qualname__),
    )


def choose(models: Sequence[Model], names: Iterable[str]) -> list[Model]:
    """Return the models that have one of the names, or all if there are no names."""
    wanted = list(names)
    if not wanted:
        return list(models)

    known = {model.__name__ for model in models}
    for name in dict.fromkeys(wanted):
        if name not in known:
            logger.warning('A signal with name "%s" does not exist.', name)

    return [model for model in models if model.__name__ in wanted]


def has_bulk_sender(model: Model) -> bool:
    """Tell whether a model can send several signals in one call."""
    return hasattr(model, BULK_SENDER)


def senders_of(model: Model) -> dict[str, Callable[..., Any]]:
    """Return the senders of a model by their names, the single sender first."""
    names = (SINGLE_SENDER, BULK_SENDER)
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def burst_size(model: Model) -> int:
    """Return how many signals of a model are sent in one transaction.

    :raises ValueError: If the model asks for anything but a positive integer.
    """
    size = getattr(model, "signalbus_burst_count", 1)
    if type(size) is not int or size < 1:
        raise ValueError(
            f"'signalbus_burst_count' of '{model.__name__}' must be a positive"
            f" integer, got {size!r}."
        )

    return size


@dataclass(frozen=True, kw_only=True, eq=False)
class SignalTable:
    """The table of a signal model, as a flush sees it.

    :param columns: The table's columns, labeled with the model's attributes.
    :param key: The columns of the primary key.
    :param identity_filter: The condition, if there is one, that tells the model's rows
        from those of other models that are mapped to the same table.
    """

    model: Model
    table: Table
    columns: tuple[Label[Any], ...]
    key: tuple[Column[Any], ...]
    key_positions: tuple[int, ...]
    identity_filter: tuple[ColumnElement[bool], ...]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.__name__

    def select_count(self) -> Select[Any]:
        """Return the query for the number of pending signals."""
        return select(func.count()).select_from(self.table).where(*self.identity_filter)

    def key_of(self, row: Row[Any]) -> tuple[Any, ...]:
        """Return the primary key of a row."""
        return tuple(row[position] for position in self.key_positions)


def signal_table_of(model: Model) -> SignalTable:
    """Look up where the signals of a model lie.

    :raises RuntimeError: If they do not lie in exactly one table, or have an
        attribute that could not be read from a row.
    """
    return _signal_table_of(inspect(model))


@lru_cache(maxsize=256)
def _signal_table_of(mapper: Mapper[Any]) -> SignalTable:
    model = mapper.class_
    table = mapper.persist_selectable
    if not isinstance(table, Table):
        raise RuntimeError(
            f"The signal model '{model.__name__}' must be mapped to exactly one table,"
            f" not to a join or a query; joined-table inheritance is not supported."
        )

    attributes = dict(_attributes(mapper, table))
    for name in attributes.values():
        if name in RESERVED_NAMES:
            raise RuntimeError(
                f"The attribute '{name}' of the signal model '{model.__name__}' is"
                f" hidden by a method of rows. Map the column to another name."
            )

    if keys := cascading_keys(model):
        raise RuntimeError(
            f"Deleting a signal of '{model.__name__}' would delete others that have not"
            f" been sent, by the foreign key '{keys[0]}'. Use another 'ondelete' than"
            f" CASCADE."
        )

    columns = list(attributes)
    key = _key(mapper, table)
    return SignalTable(
        model=model,
        table=table,
        columns=tuple(column.label(name) for column, name in attributes.items()),
        key=key,
        key_positions=tuple(columns.index(column) for column in key),
        identity_filter=_identity_filter(mapper),
    )


def cascading_keys(model: Model) -> list[str]:
    """Return the foreign keys by which deleting a signal deletes other signals."""
    mapper: Mapper[Any] = inspect(model)
    others = (o for o in mapper.registry.mappers if is_signal_model(o.class_))
    tables = dict.fromkeys(other.local_table for other in others)
    return [
        str(key.parent)
        for table in tables
        for key in table.foreign_keys
        if refers_to(key, mapper.local_table)
        and (key.ondelete or "").upper() == "CASCADE"
    ]


def refers_to(key: ForeignKey, table: FromClause) -> bool:
    """Tell whether a foreign key leads to a table."""
    # Not 'key.column', which fails when some other key leads nowhere.
    return key.target_fullname.rpartition(".")[0] == getattr(table, "fullname", None)


def _key(mapper: Mapper[Any], table: Table) -> tuple[Column[Any], ...]:
    # In the order in which SQLAlchemy creates the index of the primary key.
    indexed = tuple(table.primary_key.columns_autoinc_first)
    if set(indexed) == set(mapper.primary_key):
        return indexed

    chosen = set(mapper.primary_key)
    return tuple(column for column in table.columns if column in chosen)


def _attributes(mapper: Mapper[Any], table: Table) -> Iterator[tuple[Column[Any], str]]:
    for column in table.columns:
        try:
            yield column, mapper.get_property_by_column(column).key
        except UnmappedColumnError:  # a sibling's, or excluded by the author
            continue


def _identity_filter(mapper: Mapper[Any]) -> tuple[ColumnElement[bool], ...]:
    # A concrete class shares its table with nobody.
    if mapper.polymorphic_on is None or mapper.concrete:
        return ()

    return (mapper.polymorphic_on == mapper.polymorphic_identity,)
