"""The SQL of a claim, as text: for each strategy, shape of key, and end of a pass.

The documentation shows it. Run this module (``make generated``) to write its page anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from swpt_pythonlib.flask_signalbus._dialects import Strategy
from swpt_pythonlib.flask_signalbus._flushable import signal_table_of
from swpt_pythonlib.flask_signalbus._reflection import TableFacts
from swpt_pythonlib.flask_signalbus._statements import KeyRange, SignalStatements

GENERATED = Path(__file__).parents[2] / "docs" / "_generated" / "statements.rst"


class _Base(DeclarativeBase):
    pass


class Single(_Base):
    __tablename__ = "message"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        raise NotImplementedError


class Composite(_Base):
    __tablename__ = "note"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str]

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        raise NotImplementedError


class _Portable(DefaultDialect):
    name = "portable"


#: A dialect for each strategy, and the databases that use it.
DIALECTS: dict[Strategy, tuple[str, Any]] = {
    Strategy.DELETE_PLACES: ("PostgreSQL", psycopg2.dialect),
    Strategy.LOCK_AND_DELETE_JOINED: ("MySQL and MariaDB", mysql.dialect),
    Strategy.DELETE_KEYS: ("SQLite", sqlite.dialect),
    Strategy.LOCK_AND_DELETE_EACH: ("Any other database", _Portable),
}

#: Two signals for each model, as they are claimed.
_CLAIMED: dict[type[Any], list[Any]] = {
    Single: [(1, "one"), (2, "two")],
    Composite: [(1, 1, "one"), (1, 2, "two")],
}
ENDS = {
    "first": "The first burst of a pass",
    "next": "The bursts that follow",
    "only": "A signal on its own",
}
SHAPES = {Single: "``id``", Composite: "``(user_id, note_id)``"}


class _Result(list[Any]):
    @property
    def rowcount(self) -> int:
        return len(self) or 1

    def all(self) -> list[Any]:
        return self


class Scribe:
    """Stands in for a connection: it writes down what it is to execute."""

    def __init__(self, dialect: sa.Dialect, rows: list[Any]) -> None:
        self.statements: list[str] = []
        self._dialect = dialect
        self._rows = rows

    def execute(self, statement: Any, parameters: dict[str, Any]) -> _Result:
        text = str(statement.compile(dialect=self._dialect))
        self.statements.append(text.replace("__[POSTCOMPILE_keys]", ":keys"))
        returns_nothing = text.startswith("DELETE FROM") and "RETURNING" not in text
        return _Result([] if returns_nothing else self._rows)

    def schema_for_object(self, table: Any) -> str | None:
        schema: str | None = table.schema
        return schema


def statements(strategy: Strategy, model: type[Any], end: str) -> list[str]:
    """Return what a claim executes, as SQLAlchemy compiles it."""
    dialect = DIALECTS[strategy][1](paramstyle="named")
    rows = _CLAIMED[model][: 1 if end == "only" else 2]
    keys = [row[:-1] for row in rows]
    scribe: Any = Scribe(dialect, rows)
    table = signal_table_of(model)
    signals = SignalStatements(table, dialect, TableFacts.as_declared(table))
    if end == "only":
        signals.claim_only(scribe, keys[0])
    else:
        start = None if end == "first" else keys[0]
        signals.claim(scribe, KeyRange(start, keys[-1]), len(rows))

    # The same deletion is executed for each row.
    return list(dict.fromkeys(scribe.statements))


def folded(statement: str) -> str:
    """Return a statement without its line breaks."""
    text = re.sub(r"\s+", " ", statement).strip()
    return text.replace("( ", "(").replace(" )", ")")


def rendered() -> str:
    """Return the page of the documentation."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield ".. Written by 'make generated'; don't edit. The tests compare it."
    yield ""
    for strategy, (title, _) in DIALECTS.items():
        yield from (title, "~" * len(title), "")
        for model, shape in SHAPES.items():
            for end, when in ENDS.items():
                yield from (f"{when}, key {shape}:", "", ".. code-block:: sql", "")
                for statement in statements(strategy, model, end):
                    yield from map(_indented, statement.strip().splitlines())
                    yield ""


def _indented(line: str) -> str:
    return f"    {line.rstrip()}".rstrip()


if __name__ == "__main__":
    GENERATED.write_text(rendered(), encoding="utf-8")
