"""What send methods write to other tables than the model's, and how it is undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, ExecutionContext
from sqlalchemy.exc import SQLAlchemyError

from .comparing import difference
from .harness import Harness
from .outside import listening

_WRITE = re.compile(
    r"\s*(?:INSERT\s+(?:IGNORE\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+"
    r"""([\w$."`]+)""",
    re.IGNORECASE,
)

_Contents = list[dict[str, Any]]
_Table = sa.Table | str


class Writes:
    """Remembers how tables were before they were written to."""

    def __init__(self, harness: Harness) -> None:
        self._engines = harness.engines
        self._own = harness.mapper.local_table
        self._original: dict[tuple[Engine, _Table], _Contents] = {}
        self._before: dict[tuple[Engine, _Table], _Contents] = {}
        self._tables = {
            table.name: table
            for metadata in harness.db.metadatas.values()
            for table in metadata.tables.values()
        }

    @contextmanager
    def undone(self) -> Iterator[Writes]:
        """Watch all that is written, and take it back in the end, where possible."""
        with ExitStack() as stack:
            for engine in self._engines:
                note = partial(self._note, engine)
                stack.enter_context(listening(engine, "before_cursor_execute", note))
            try:
                yield self
            finally:
                self._undo()

    def note_as_is(self) -> None:
        """Compare with what is in the tables now, from now on."""
        self._before = {place: _contents_now(*place) for place in self._before}

    def difference(self) -> str:
        """Say how a table differs from what it was, if one does."""
        for place, before in self._before.items():
            now = _contents_now(*place)
            if _reprs(now) != _reprs(before):
                return f"in {place[1]}: {difference(now, before)}"

        return ""

    def _note(self, engine: Engine, connection: Connection, *args: Any) -> None:
        _, statement, _, context, _ = args
        # Not 'is': the ORM's statements are about copies, which are equal.
        table = self._written_to(statement, context)
        if table is None or table == self._own or (engine, table) in self._original:
            return

        # On this very connection: in memory, there is no other one.
        self._original[engine, table] = _contents(connection, table)
        self._before[engine, table] = self._original[engine, table]

    def _written_to(self, statement: str, context: ExecutionContext) -> _Table | None:
        """Return the table that a statement writes to, by its name if need be."""
        compiled = context.compiled.statement if context.compiled else None
        if isinstance(compiled, sa.UpdateBase):
            table = getattr(compiled, "table", None)
            return table if isinstance(table, sa.Table) else None

        match = _WRITE.match(statement)
        if match is None:
            return None

        name = match[1].rpartition(".")[2].strip('"`')
        return self._tables.get(name, match[1])

    def _undo(self) -> None:
        for (engine, table), before in self._original.items():
            if isinstance(table, sa.Table) and table.primary_key.columns:
                # What refers to something else may have to stay.
                with suppress(SQLAlchemyError), engine.begin() as connection:
                    _restore(connection, table, before)


def _contents_now(engine: Engine, table: _Table) -> _Contents:
    with engine.connect() as connection:
        return _contents(connection, table)


def _contents(connection: Connection, table: _Table) -> _Contents:
    rows = (
        connection.exec_driver_sql(f"SELECT * FROM {table}")
        if isinstance(table, str)
        else connection.execute(sa.select(table))
    )
    return [dict(row) for row in rows.mappings()]


def _restore(connection: Connection, table: sa.Table, before: _Contents) -> None:
    now = _contents(connection, table)
    as_before, as_now = _reprs(before), _reprs(now)
    for row in now:
        if repr(row) not in as_before:
            key = [column == row[column.name] for column in table.primary_key]
            connection.execute(sa.delete(table).where(*key))
    for row in before:
        if repr(row) not in as_now:
            connection.execute(sa.insert(table).values(row))


def _reprs(contents: _Contents) -> list[str]:
    return sorted(map(repr, contents))
