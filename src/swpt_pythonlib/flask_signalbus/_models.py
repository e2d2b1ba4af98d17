"""What a signal model is, what it says about itself, and where its signals lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Protocol

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    Column,
    ColumnElement,
    Label,
    Row,
    RowMapping,
    Select,
    Table,
    func,
    inspect,
    literal,
    select,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import UnmappedColumnError

from ._logs import logger

Model = type[Any]


class SignalRow(Protocol):
    """What a sender receives: a row of the table of the signals, and no instance.

    For type checkers. A protocol of yours that extends it names the columns that
    your sender reads; whatever else the sender asks of the row, such as a method of
    the model, is an error then::

        from typing import Protocol

        from swpt_pythonlib.flask_signalbus import SignalRow

        class OrderPlacedRow(SignalRow, Protocol):
            order_id: int
            email: str

    .. versionadded:: 1.1
    """

    @property
    def _mapping(self) -> RowMapping: ...

    @property
    def _fields(self) -> tuple[str, ...]: ...

    def _asdict(self) -> dict[str, Any]: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, index: int, /) -> Any: ...


SINGLE_SENDER = "send_signalbus_message"
BULK_SENDER = "send_signalbus_messages"


def is_signal_model(model: object) -> bool:
    """Tell whether a class is mapped to a table and says how to send its rows."""
    return (
        isinstance(model, type)
        and hasattr(model, SINGLE_SENDER)
        and inspect(model, raiseerr=False) is not None
    )


def signal_models_of(db: SQLAlchemy) -> list[Model]:
    """Return all signal models of a database, sorted by name."""
    return sorted(
        filter(is_signal_model, _models_of(db)),
        key=lambda model: (model.__name__, model.__module__, model.__qualname__),
    )


def misspelt_senders_of(db: SQLAlchemy) -> list[str]:
    """Return what looks like a sender, as ``Model.name``, of models without one."""
    return sorted(
        f"{model.__name__}.{name}"
        for model in _models_of(db)
        if not is_signal_model(model)
        for name in get_close_matches(SINGLE_SENDER, dir(model), cutoff=0.8)
    )


def _models_of(db: SQLAlchemy) -> Iterator[Model]:
    base: Any = db.Model  # whichever declarative base the application has chosen
    return (mapper.class_ for mapper in base.registry.mappers)


def full_name(model: Model) -> str:
    """Return the name of a model, with its module."""
    return f"{model.__module__}.{model.__qualname__}"


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


def burst_count_of(model: Model) -> Any:
    """Return the size that a model wants for its bursts, which need not make sense."""
    return getattr(model, "signalbus_burst_count", 1)


def moment_of(model: Model) -> Any:
    """Return the name by which a model says when its signals were recorded, if any."""
    return getattr(model, "signalbus_created_at", None)


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

    @classmethod
    def of(cls, mapper: Mapper[Any]) -> SignalTable:
        """Describe the table of a model that is mapped to exactly one."""
        table = mapper.persist_selectable
        assert isinstance(table, Table)
        names = attributes_of(mapper)
        columns = list(names)
        key = _key(mapper, table)
        return cls(
            model=mapper.class_,
            table=table,
            columns=tuple(column.label(name) for column, name in names.items()),
            key=key,
            key_positions=tuple(columns.index(column) for column in key),
            identity_filter=_identity_filter(mapper),
        )

    def ordered_by(self, names: Sequence[str]) -> SignalTable:
        """Return the same table, with the columns of its key in another order."""
        by_name = {
            column.name: (column, position)
            for column, position in zip(self.key, self.key_positions, strict=True)
        }
        key, positions = zip(*(by_name[name] for name in names), strict=True)
        return replace(self, key=key, key_positions=positions)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model.__name__

    def select_count(self, max_count: int | None = None) -> Select[Any]:
        """Return the query for the number of pending signals.

        :param max_count: Where to stop counting.
        """
        signals = self._select(literal(1).label("one")).limit(max_count).subquery()
        return select(func.count()).select_from(signals)

    def select_oldest(self, name: str) -> Select[Any]:
        """Return the query for the least value of a column of the pending signals."""
        column = next(column for column in self.columns if column.name == name)
        return self._select(func.min(column.element))

    def _select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).select_from(self.table).where(*self.identity_filter)

    def key_of(self, row: Row[Any]) -> tuple[Any, ...]:
        """Return the primary key of a row."""
        return tuple(row[position] for position in self.key_positions)


def attributes_of(mapper: Mapper[Any]) -> dict[Column[Any], str]:
    """Return the names by which a flush reads the columns of a model's table."""
    return dict(_attributes(mapper))


def _attributes(mapper: Mapper[Any]) -> Iterator[tuple[Column[Any], str]]:
    columns: Any = mapper.persist_selectable.columns  # of a table
    for column in columns:
        try:
            yield column, mapper.get_property_by_column(column).key
        except UnmappedColumnError:  # a sibling's, or excluded by the author
            continue


def _key(mapper: Mapper[Any], table: Table) -> tuple[Column[Any], ...]:
    # In the order in which SQLAlchemy creates the index of the primary key.
    indexed = tuple(table.primary_key.columns_autoinc_first)
    if set(indexed) == set(mapper.primary_key):
        return indexed

    chosen = set(mapper.primary_key)
    return tuple(column for column in table.columns if column in chosen)


def _identity_filter(mapper: Mapper[Any]) -> tuple[ColumnElement[bool], ...]:
    # A concrete class shares its table with nobody.
    if mapper.polymorphic_on is None or mapper.concrete:
        return ()

    return (mapper.polymorphic_on == mapper.polymorphic_identity,)
