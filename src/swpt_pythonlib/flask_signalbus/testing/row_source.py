"""Where the rows of the checks come from, and who is to blame for a bad one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Dialect
from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.orm import Mapper

from .._dialects import traits_of
from .._errors import is_conflict
from .comparing import bind, shortened
from .failures import CannotCheck, Finding
from .rows import default_row, mapped_columns, remedy

RowFactory = Callable[[int], Any]

#: How many values a message shows.
_FEW = 8


class RowSource:
    """Makes the rows that the checks record, and answers for them.

    :param model: The signal model.
    :param by_hand: The application's own function; by default, there are sample rows.
    """

    def __init__(self, model: type[Any], by_hand: RowFactory | None) -> None:
        self._model = model
        self._by_hand = by_hand
        self._numbers = itertools.count()
        self._last: dict[str, Any] = {}

    @property
    def _mapper(self) -> Mapper[Any]:
        mapper: Mapper[Any] = sa.inspect(self._model)
        return mapper

    @property
    def hint(self) -> str:
        """What to think of if somebody else cannot cope with the rows."""
        name = self._model.__qualname__
        if self._by_hand is not None:
            return f"is it a row that {self._function} should make?"

        return (
            f"it got the sample values {_listed(self._last)}; if those make no sense,"
            f" pass rows={{{name}: lambda i: {name}(…)}}"
        )

    def make(self) -> Any:
        """Return another row, which is in no session.

        :raises CannotCheck: If there is none.
        """
        number = next(self._numbers)
        row = self._made(number)
        self._last = _values_of(row, self._mapper)
        return row

    @property
    def nullable(self) -> list[str]:
        """The attributes that may be NULL."""
        return [
            name
            for name, column in mapped_columns(self._mapper).items()
            if column.nullable
            and column.computed is None
            and column is not self._mapper.polymorphic_on
        ]

    def make_with(self, nulls: Collection[str]) -> Any:
        """Return another row, with NULL in some columns."""
        row = self.make()
        for name in nulls:
            # Not 'None', which would be replaced by a default.
            setattr(row, name, sa.null())
        return row

    def make_many(self, count: int) -> list[Any]:
        """Return rows that can be in the table at the same time.

        :raises CannotCheck: If they cannot.
        """
        rows = [self.make() for _ in range(count)]
        if len({id(row) for row in rows}) < count:
            raise self._cannot("returned the same object twice, not a new row")

        self._require_distinct_keys(rows)
        return rows

    @contextmanager
    def answering(self, dialect: Dialect) -> Iterator[None]:
        """Blame the rows for what goes wrong while they are recorded."""
        try:
            yield
        except (CannotCheck, Finding):
            raise
        except Exception as exc:
            if _is_trouble_of_the_server(exc, dialect):
                raise

            raise self._cannot_record(exc, dialect) from exc

    @contextmanager
    def answering_for(self, name: str) -> Iterator[None]:
        """Blame the values of an attribute if they cannot be read back."""
        try:
            yield
        except SQLAlchemyError:
            raise
        except Exception as exc:
            value = shortened(self._last.get(name, "a default"))
            raise CannotCheck(
                f"The column '{name}' of '{self._model.__qualname__}' was given the"
                f" value {value}, and cannot be read back: {exc!r}."
                f" {remedy(self._model)}"
            ) from exc

    def _made(self, number: int) -> Any:
        if self._by_hand is None:
            return default_row(self._model, number)

        try:
            row = self._by_hand(number)
        except Exception as exc:
            raise self._cannot(f"raised {exc!r} for the number {number}") from exc
        if not isinstance(row, self._model):
            raise self._cannot(f"returned {row!r} for the number {number}, not a row")

        return row

    def _require_distinct_keys(self, rows: Collection[Any]) -> None:
        names = [
            self._mapper.get_property_by_column(column).key
            for column in self._mapper.primary_key
        ]
        seen: set[tuple[Any, ...]] = set()
        for row in rows:
            key = tuple(getattr(row, name) for name in names)
            # What is filled in later is somebody else's business.
            if None not in key and key in seen:
                raise self._repeated(dict(zip(names, key, strict=True)), len(rows))

            seen.add(key)

    def _repeated(self, key: dict[str, Any], count: int) -> CannotCheck:
        if self._by_hand is not None:
            return self._cannot(f"made two rows with the primary key {_listed(key)}")

        return CannotCheck(
            f"The sample rows of '{self._model.__qualname__}' repeat the primary key"
            f" {_listed(key)}: {count} rows are recorded at a time, and its type has"
            f" too few sample values for them. {remedy(self._model)} A model that has"
            f" room for fewer rows cannot be checked."
        )

    def _cannot_record(self, exc: Exception, dialect: Dialect) -> CannotCheck:
        words = _words_of(exc)
        if self._by_hand is not None:
            is_taken = isinstance(exc, InvalidRequestError) and "attached" in words
            advice = "; return rows that are in no session yet" if is_taken else ""
            return self._cannot(f"made a row that cannot be recorded: {words}{advice}")

        culprit = self._culprit(exc, dialect) or f"It has {self._suspects(words)}."
        return CannotCheck(
            f"A sample row of '{self._model.__qualname__}' cannot be recorded: {words}."
            f" {culprit} {remedy(self._model)}"
        )

    def _suspects(self, words: str) -> str:
        """Return the values of the columns that the database names, or else all."""
        columns = mapped_columns(self._mapper)
        named = {
            name: value
            for name, value in self._last.items()
            if re.search(rf"\b{re.escape(columns[name].name)}\b", words)
        }
        return _listed(named or self._last)

    def _cannot(self, what: str) -> CannotCheck:
        return CannotCheck(
            f"{self._function[0].upper()}{self._function[1:]} {what}. Correct it, or"
            f" record beforehand what its rows refer to."
        )

    @property
    def _function(self) -> str:
        return f"the function passed as rows= for '{self._model.__qualname__}'"

    def _culprit(self, exc: Exception, dialect: Dialect) -> str:
        """Say which column is to blame, if the same error comes of it alone."""
        error = repr(exc.orig if isinstance(exc, StatementError) else exc)
        for name, column in mapped_columns(self._mapper).items():
            value = self._last.get(name)
            if name in self._last and _error_of(bind, value, column, dialect) == error:
                return f"The column '{column.name}' does not take the value {value!r}."
            if name not in self._last and _error_of(_default, column) == error:
                return f"The default of the column '{column.name}' raised it."

        return ""


def _values_of(row: Any, mapper: Mapper[Any]) -> dict[str, Any]:
    """Return the values that a row has been given."""
    state = sa.inspect(row).dict
    return {name: state[name] for name in mapped_columns(mapper) if name in state}


def _listed(values: dict[str, Any]) -> str:
    few = list(values.items())[:_FEW]
    more = f", and {len(values) - _FEW} more" if len(values) > _FEW else ""
    return ", ".join(f"{name}={shortened(value)}" for name, value in few) + more


def _default(column: sa.Column[Any]) -> None:
    if column.default is not None and column.default.is_callable:
        column.default.arg(None)  # type: ignore[attr-defined]


def _error_of(function: Callable[..., None], *args: Any) -> str:
    try:
        function(*args)
    except Exception as exc:
        return repr(exc)

    return ""


def _is_trouble_of_the_server(exc: Exception, dialect: Dialect) -> bool:
    """Tell whether an error has come of something else than the row."""
    if not isinstance(exc, DBAPIError):
        return False

    return exc.connection_invalidated or is_conflict(exc, traits_of(dialect))


def _words_of(exc: Exception) -> str:
    """Return what has gone wrong, in one line."""
    if not isinstance(exc, DBAPIError):
        return repr(exc.orig if isinstance(exc, StatementError) else exc)

    return str(exc.orig).strip().partition("\n")[0]
