"""A model's table, as another connection sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from .._dialects import traits_of
from .comparing import bind, hashable, same
from .failures import CannotCheck
from .recorder import RunawayFlush
from .rows import mapped_columns

Key = tuple[Any, ...]

#: Seconds to wait for a lock; all databases take an integer.
LOCK_TIMEOUT = 1


@dataclass(frozen=True)
class Capabilities:
    """What a database can do.

    :param second_connection: Whether two connections see one database.
    :param row_locks: Whether a row that somebody holds can be skipped.
    """

    second_connection: bool
    row_locks: bool

    @classmethod
    def probe(cls, engine: Engine) -> Capabilities:
        """Find out what the database of an engine can do."""
        is_shared = isinstance(engine.pool, StaticPool | SingletonThreadPool)
        return cls(
            second_connection=not is_shared,
            row_locks=traits_of(engine.dialect).skips_locked_rows and not is_shared,
        )


class OutsideView:
    """Reads and clears a model's table on a connection of its own.

    :param model: The signal model.
    :param engine: The engine of its table.
    """

    def __init__(self, model: type[Any], engine: Engine) -> None:
        self.engine = engine
        self._model = model
        self._mapper: Mapper[Any] = sa.inspect(model)

    @property
    def _table(self) -> sa.Table:
        table = self._mapper.local_table
        assert isinstance(table, sa.Table)
        return table

    @property
    def name(self) -> str:
        """The name of the table, without its schema."""
        return self._table.name

    @cached_property
    def attributes(self) -> list[str]:
        """The names of the attributes that are columns."""
        return list(mapped_columns(self._mapper))

    @cached_property
    def key_attributes(self) -> list[str]:
        """The names of the attributes that are the primary key."""
        properties = map(self._mapper.get_property_by_column, self._mapper.primary_key)
        return [attribute.key for attribute in properties]

    def require_table(self) -> None:
        """Refuse to work where there is no table.

        :raises CannotCheck: If so.
        """
        # Not asked by its name, which the engine may translate.
        nothing = sa.select(sa.literal(1)).select_from(self._table).where(sa.false())
        try:
            with self._session() as session:
                session.execute(nothing)
        except DBAPIError as exc:
            raise CannotCheck(
                f"The table '{self._table.fullname}' does not exist, or may not be "
                f"read; create the tables first: db.create_all()."
            ) from exc

    def require_empty_table(self) -> None:
        """Refuse to work where there is no table, or one that is in use.

        :raises CannotCheck: If so.
        """
        self.require_table()
        if count := self.count():
            raise CannotCheck(
                f"The table '{self._table.fullname}' holds {count} rows; it must be "
                f"empty, since this could be a real database."
            )

    def keys(self) -> list[Key]:
        """Return the primary keys of all rows, in their order."""
        return list(map(self.key_of, self.rows()))

    def rows(self) -> Sequence[sa.Row[Any]]:
        """Return the primary keys of all rows, with the values that were read."""
        return self._select(self.key_attributes)

    def key_of(self, signal: Any) -> Key:
        """Return what stands for a primary key, whatever the types of its values."""
        dialect = self.engine.dialect
        columns = mapped_columns(self._mapper)
        return tuple(
            hashable(getattr(signal, name), columns[name], dialect)
            for name in self.key_attributes
        )

    def count(self) -> int:
        """Return how many rows there are."""
        with self._session() as session:
            return self.seen_by(session)

    def seen_by(self, session: Any) -> int:
        """Return how many rows a session sees."""
        statement = sa.select(sa.func.count()).select_from(self._model)
        count: int = session.scalars(statement).one()
        return count

    def stored(self) -> dict[Key, dict[str, Any]]:
        """Return every row's attributes by its primary key."""
        rows = self._select(self.attributes)
        return {self.key_of(row): row._asdict() for row in rows}

    def read(self, name: str) -> None:
        """Read an attribute of all rows."""
        self._select([name])

    def finds(self, key: Sequence[Any]) -> bool:
        """Tell whether the key leads to exactly one row."""
        columns = [getattr(self._model, name) for name in self.key_attributes]
        matches = [column == value for column, value in zip(columns, key, strict=True)]
        with self._session() as session:
            return len(session.execute(sa.select(*columns).where(*matches)).all()) == 1

    def record(self, row: Any) -> None:
        """Record a row, as another part of the application would."""
        with self._session() as session, session.begin():
            session.add(row)

    def delete_all(self) -> None:
        """Delete what is left of the rows."""
        # A statement that finds nothing would still wait for locks.
        if self.count():
            with self._session() as session, session.begin():
                session.execute(sa.delete(self._model))

    def are_same(self, name: str, some: Any, other: Any) -> bool:
        """Tell whether two values of an attribute are the same to the database."""
        if same(some, other):
            return True

        column, dialect = mapped_columns(self._mapper)[name], self.engine.dialect
        try:
            return same(bind(some, column, dialect), bind(other, column, dialect))
        except Exception:
            return False

    def _select(self, names: Sequence[str]) -> Sequence[sa.Row[Any]]:
        columns = [getattr(self._model, name) for name in names]
        key = [getattr(self._model, name) for name in self.key_attributes]
        with self._session() as session:
            return session.execute(sa.select(*columns).order_by(*key)).all()

    def _session(self) -> Session:
        # At SERIALIZABLE, reading would lock rows on some databases.
        level = traits_of(self.engine.dialect).flush_isolation_level
        options = {"isolation_level": level} if level else {}
        return Session(self.engine.execution_options(**options))

    @contextmanager
    def impatience(self) -> Iterator[None]:
        """Let no transaction wait long for a lock."""
        statement = traits_of(self.engine.dialect).lock_timeout

        def set_timeout(connection: Connection) -> None:
            if statement is not None:
                # Behind SQLAlchemy's back: nobody counts it among their statements.
                cursor = connection.connection.cursor()
                cursor.execute(statement.format(LOCK_TIMEOUT))
                cursor.close()

        with listening(self.engine, "begin", set_timeout):
            yield


class StatementBudget:
    """Stops whoever executes too many SQL statements."""

    def __init__(self) -> None:
        self._left = math.inf

    @contextmanager
    def watching(self, engine: Engine) -> Iterator[None]:
        """Count the statements of an engine."""
        with listening(engine, "before_cursor_execute", self._spend):
            yield

    @contextmanager
    def of(self, statements: int) -> Iterator[None]:
        """Grant a number of statements."""
        self._left = statements
        try:
            yield
        finally:
            self._left = math.inf

    def _spend(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise RunawayFlush("too many SQL statements")


@contextmanager
def listening(
    engine: Engine, name: str, listener: Callable[..., None]
) -> Iterator[None]:
    """Listen to an event of an engine for a while."""
    event.listen(engine, name, listener)
    try:
        yield
    finally:
        event.remove(engine, name, listener)
