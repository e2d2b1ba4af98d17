"""The order of primary keys, as the database sees it."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    TEXT,
    VARCHAR,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Row,
    String,
    Text,
    TypeDecorator,
    Unicode,
    UnicodeText,
    and_,
    bindparam,
    cast,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.types import TypeEngine, UserDefinedType

from ._catalogues import as_text, quoted
from ._dialects import traits_of

Key = tuple[Any, ...]
Comparison = Callable[[Any, Any], ColumnElement[bool]]

_COMPARISONS: tuple[Callable[[Any, Any], Any], ...] = (
    operator.gt,
    operator.lt,
    operator.le,
)

_ENUM = re.compile(r"enum\((.*)\)", re.DOTALL)
_INTEGER = re.compile(r"(tiny|small|medium|big)?int\b", re.IGNORECASE)
_LABEL = re.compile(r"'((?:[^']|'')*)'")
_TEXTS = {String, Text, Unicode, UnicodeText, TEXT, VARCHAR}


class KeyOrder:
    """Compares the primary key with named bounds.

    :param columns: The columns of the primary key.
    :param dialect: The database that compares them.
    :param collations: By what it compares each of them, ``None`` if it does not matter.
    :param types: What each of them is in the database, ``None`` if it does not matter.
    """

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        dialect: Dialect,
        collations: Sequence[str | None],
        types: Sequence[str | None],
    ) -> None:
        self._columns = columns
        self._types = types
        self._collations = collations
        self._traits = traits_of(dialect)
        self._declared = [column.type.dialect_impl(dialect) for column in columns]
        self._processors = [type_.bind_processor(dialect) for type_ in self._declared]
        self._labels = {
            i: labels
            for i, real in enumerate(types)
            if (labels := self._labels_of(real))
        }

    @cached_property
    def is_pythons(self) -> bool:
        """Whether Python orders the keys as the database does."""
        return all(map(self._is_ordered_as_python, self._columns))

    @property
    def integer_types(self) -> list[str]:
        """What holds the parts of a key, if all of them are plain integers.

        A column may be widened while a worker runs.
        """
        is_plain = all(
            isinstance(type_, Integer) and process is None
            for type_, process in zip(self._declared, self._processors, strict=True)
        )
        types = [real or "bigint" for real in self._types]
        if not (is_plain and all(map(_INTEGER.match, types))):
            return []

        return ["BIGINT UNSIGNED" if "unsigned" in t else "BIGINT" for t in types]

    def equals(self, bound: str) -> ColumnElement[bool]:
        """Return the condition that the key is the one named ``bound``."""
        return and_(*map(operator.eq, self._columns, self._all(self.hidden, bound)))

    def is_after(self, bound: str) -> ColumnElement[bool]:
        """Return the condition that the key comes after a bound."""
        binds = self._all(self.hidden, bound)
        return self._beyond(bound, binds, strictly=operator.gt, at_last=operator.gt)

    def is_up_to(self, bound: str) -> ColumnElement[bool]:
        """Return the condition that the key comes before a bound, or is it."""
        binds = self._all(self._bind, bound)
        return self._beyond(bound, binds, strictly=operator.lt, at_last=operator.le)

    def hidden(
        self, name: str, type_: TypeEngine[Any], real: str | None = None
    ) -> ColumnElement[Any]:
        """Return a parameter, hidden from a planner that would draw conclusions.

        If old statistics say that little is pending, PostgreSQL would rather sort all
        of the backlog, for each burst, than walk the index of the key.
        """
        bind = self._bind(name, type_, real)
        if not self._traits.trusts_statistics:
            return bind

        return select(bind.label("bound")).scalar_subquery()

    def _bind(
        self, name: str, type_: TypeEngine[Any], real: str | None
    ) -> ColumnElement[Any]:
        if not self._traits.trusts_statistics:
            return bindparam(name, type_=type_)

        target = widest = _widest(type_)
        # The index does not serve a comparison with another type, but with an integer
        # of another size, to which a migration may be changing it.
        if real is not None and not isinstance(type_, Integer):
            target = _RealType(real)
        return cast(bindparam(name, type_=widest), target)

    def _all(
        self, bind: Callable[..., ColumnElement[Any]], bound: str
    ) -> list[ColumnElement[Any]]:
        columns = zip(self._columns, self._types, strict=True)
        return [
            bind(f"{bound}_{i}", column.type, real)
            for i, (column, real) in enumerate(columns)
        ]

    def parameters(self, bound: str, key: Key) -> dict[str, Any]:
        """Return the parameters that set a bound to a key."""
        values = {f"{bound}_{i}": value for i, value in enumerate(key)}
        for i in self._labels:
            values |= self._beyond_rank(f"{bound}_{i}", i, key[i])

        return values

    def sort(
        self, connection: Connection, rows: Sequence[Row[Any]], positions: Sequence[int]
    ) -> list[Row[Any]]:
        """Return rows in the order of the database, which compares bytes by default.

        :param positions: Where in a row the columns of the key are.
        """
        if self.is_pythons:
            return sorted(rows, key=itemgetter(*positions))

        ranked = zip(self._processors, self._collations, positions, strict=True)
        columns = [
            _ranks(connection, collation, [_stored(process, row[i]) for row in rows])
            for process, collation, i in ranked
        ]
        ranks = list(zip(*columns, strict=True))
        return [rows[n] for n in sorted(range(len(rows)), key=ranks.__getitem__)]

    def _is_ordered_as_python(self, column: Column[Any]) -> bool:
        # What a decorator makes of a value may have another order.
        if isinstance(column.type, TypeDecorator):
            return False

        try:
            return column.type.python_type in self._traits.orders_as_python
        except NotImplementedError:
            return False

    def _beyond(
        self,
        bound: str,
        binds: Sequence[ColumnElement[Any]],
        *,
        strictly: Comparison,
        at_last: Comparison,
    ) -> ColumnElement[bool]:
        if len(binds) > 1 and self._traits.compares_row_values:
            return at_last(tuple_(*self._columns), tuple_(*binds))

        def compare(i: int, comparison: Comparison) -> ColumnElement[bool]:
            if i not in self._labels:
                return comparison(self._columns[i], binds[i])

            name = f"{bound}_{i}_{comparison.__name__}"
            labels = bindparam(name, expanding=True, type_=String())
            return self._columns[i].in_(labels)

        condition: ColumnElement[bool]
        # Spelled out, from the last column to the first:
        # a > :a OR a = :a AND (b > :b OR b = :b AND c > :c)
        *leading, last = range(len(binds))
        condition = compare(last, at_last)
        for i in reversed(leading):
            is_equal = self._columns[i] == binds[i]
            condition = or_(compare(i, strictly), and_(is_equal, condition))

        return condition

    def _beyond_rank(self, name: str, i: int, value: Any) -> dict[str, list[str]]:
        labels = self._labels[i]
        rank = labels.index(_stored(self._processors[i], value))
        return {
            f"{name}_{compare.__name__}": [
                label for n, label in enumerate(labels) if compare(n, rank)
            ]
            for compare in _COMPARISONS
        }

    def _labels_of(self, real: str | None) -> list[str]:
        """Return the labels, in order, of what the database compares as text."""
        if real is None or not self._traits.compares_enums_as_text:
            return []

        quoted = _ENUM.fullmatch(real)
        labels = _LABEL.findall(quoted[1]) if quoted else []
        return [label.replace("''", "'") for label in labels]


class _RealType(UserDefinedType[Any]):
    """A type by the name that the database gives it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """Return what stands for the type in a statement."""
        return self.name


def _widest(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type that holds also what the column holds beyond its declaration."""
    if isinstance(type_, Integer):
        return BigInteger()
    # Not its other subclasses: they may compare in another way, as CITEXT does.
    if type(type_) in _TEXTS:
        return String(collation=getattr(type_, "collation", None))

    return type_


def _ranks(
    connection: Connection, collation: str | None, values: list[Any]
) -> list[Any]:
    """Return what values are sorted by; of collations only the database knows."""
    is_text = all(isinstance(value, str) for value in values)
    if collation is None or not is_text or len(values) < 2:
        return values

    # As JSON, because there may be more values than a statement has parameters.
    collate = as_text(quoted(connection.dialect, collation))
    statement = text(
        f"SELECT dense_rank() OVER (ORDER BY value COLLATE {collate})"
        " FROM json_each(:texts) ORDER BY key"
    )
    return list(connection.scalars(statement, {"texts": json.dumps(values)}))


def _stored(process: Callable[[Any], Any] | None, value: Any) -> Any:
    stored = value if process is None else process(value)
    # What drivers are given for binary data has no order.
    return bytes(stored) if isinstance(stored, memoryview) else stored
