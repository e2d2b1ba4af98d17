"""The index that a flush walks is the one that the table has, however it was made."""

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy import event, orm

from support.broker import broker as current_broker
from support.capabilities import ANALYZE, ROWS_READ
from support.models import SendsMany
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus._flushable import signal_table_of
from swpt_pythonlib.flask_signalbus._reflection import facts_of

LOGGER = "swpt_pythonlib.flask_signalbus"

#: What is appended to the columns of a table, and the order in which its signals leave.
#: 'create_all' would make the key (c, a, b), since 'c' counts by itself.
KEYS = {
    "as create_all would": ("PRIMARY KEY (c, a, b)", "", "cab"),
    "as a migration does": ("PRIMARY KEY (a, b, c)", "", "abc"),
    "in another order": ("PRIMARY KEY (b, c, a)", "", "bca"),
    "unique constraint": ("UNIQUE (b, a, c)", "", "bac"),
    "unique index": (None, "CREATE UNIQUE INDEX walked ON {} (a, c, b)", "acb"),
    "index": (None, "CREATE INDEX walked ON {} (a, b, c)", "abc"),
    "descending index": (
        None,
        "CREATE UNIQUE INDEX walked ON {} (a DESC, b DESC, c DESC)",
        "abc",
    ),
    "odd name": (None, "CREATE UNIQUE INDEX {q}o%d :n{q} ON {} (b, c, a)", "bca"),
    "another key": ("PRIMARY KEY (z)", "CREATE INDEX walked ON {} (b, a, c)", "bac"),
    "none": (None, "", "cab"),
}
COLUMNS = (
    "a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL, z INTEGER NOT NULL"
)
#: Signals (a, b, c), no two orders of which are the same.
SIGNALS = [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1), (1, 1, 9)]


def order(signal: tuple[int, ...], names: str) -> tuple[int, ...]:
    values = dict(zip("abc", signal, strict=True))
    return tuple(values[name] for name in names)


@pytest.fixture
def make_table(make_db: DBFactory) -> Callable[..., Any]:
    """Return what makes a table by hand, and the database with its model."""

    def make_table(constraint: str | None, index: str, burst: int = 3) -> Any:
        own_db = make_db()

        @model_of(own_db)
        class Walked(SendsMany, OwnModel):
            __tablename__ = "walked_table"
            signalbus_burst_count = burst
            a: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            b: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            c: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=True)
            z: orm.Mapped[int] = orm.mapped_column(sa.Integer)

            @property
            def text(self) -> str:
                return ""

            @classmethod
            def send_signalbus_messages(cls, objs: Any) -> None:
                sent: Any = current_broker().sent
                sent.extend((o.a, o.b, o.c) for o in objs)

            @classmethod
            def send_signalbus_message(cls, obj: Any) -> None:
                cls.send_signalbus_messages([obj])

        body = ", ".join(filter(None, (COLUMNS, constraint)))
        quote = own_db.engine.dialect.identifier_preparer.quote
        mark = quote("o d")[0]
        with own_db.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE walked_table ({body})")
            if index:
                statement = index.format("walked_table", q=mark)
                connection.execute(sa.text(statement.replace(":", r"\:")))
        own_db.walked = Walked
        return own_db

    return make_table


def record(own_db: Any, signals: Sequence[tuple[int, ...]]) -> None:
    rows = [{"a": a, "b": b, "c": c, "z": z} for z, (a, b, c) in enumerate(signals)]
    own_db.session.execute(sa.insert(own_db.walked.__table__), rows)
    own_db.session.commit()


@pytest.mark.parametrize("kind", KEYS)
def test_signals_leave_in_the_order_of_the_index(
    make_table: Callable[..., Any], kind: str
) -> None:
    """F12, F3: each once, over several bursts."""
    constraint, index, names = KEYS[kind]
    own_db = make_table(constraint, index)
    record(own_db, SIGNALS)

    count = own_db.signalbus.flushmany()

    sent: Any = current_broker().sent
    assert count == len(SIGNALS)
    assert sent == sorted(SIGNALS, key=lambda s: order(s, names))


@pytest.mark.parametrize("kind", [kind for kind in KEYS if kind != "none"])
def test_a_table_with_an_index_is_no_reason_to_warn(
    make_table: Callable[..., Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: whichever order its columns have."""
    own_db = make_table(*KEYS[kind][:2])
    record(own_db, SIGNALS)

    own_db.signalbus.flushmany()

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "index",
    [
        "",
        "CREATE INDEX walked ON {} (a, b)",
        "CREATE INDEX walked ON {} (a, b DESC, c)",
    ],
)
def test_a_warning_says_which_index_to_create(
    make_table: Callable[..., Any], index: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: once, and the statement in it makes the warning go away."""
    own_db = make_table(None, index)
    record(own_db, SIGNALS)

    own_db.signalbus.flushmany()
    own_db.signalbus.flushmany()
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    statement = warnings[0].getMessage().partition("Create one: ")[2]
    with own_db.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    another_engine = sa.create_engine(own_db.engine.url)
    with another_engine.connect() as connection:
        facts = facts_of(signal_table_of(own_db.walked), connection)
    another_engine.dispose()

    assert len(warnings) == 1
    assert facts.index is not None


def test_the_table_is_looked_at_once(make_table: Callable[..., Any]) -> None:
    """F12: for each engine, and not in each pass."""
    own_db = make_table("PRIMARY KEY (a, b, c)", "")
    own_db.signalbus.flushmany()
    statements: list[str] = []

    @event.listens_for(own_db.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    own_db.signalbus.flushmany()

    assert [s for s in statements if not s.startswith("BEGIN")] == [
        s for s in statements if "walked_table" in s
    ]
    assert sum("walked_table" in s for s in statements) == 1


@pytest.mark.requires("rows_read")
@pytest.mark.parametrize("columns", ["c, a, b", "a, b, c"])
def test_the_cost_of_a_signal_does_not_depend_on_the_backlog(
    make_table: Callable[..., Any], dialect_name: str, columns: str
) -> None:
    """F12: 40 000 signals or 5 000, in either order of the key."""

    def rows_read_per_signal(count: int) -> float:
        record(own_db, [(1 + i % 3, i % 7, i) for i in range(1, count + 1)])
        with own_db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(ANALYZE[dialect_name].format("walked_table"))
        read: list[int] = []

        @event.listens_for(own_db.engine, "commit")
        def note(connection: sa.Connection) -> None:
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            cursor.execute(ROWS_READ[dialect_name])
            read.append(int(cursor.fetchone()[0] or 0))

        assert own_db.signalbus.flushmany() == count
        event.remove(own_db.engine, "commit", note)
        # PostgreSQL begins to count anew now and then.
        return sum(b - a if b >= a else b for a, b in pairwise(read)) / count

    own_db = make_table(f"PRIMARY KEY ({columns})", "", 100)

    few, many = rows_read_per_signal(5_000), rows_read_per_signal(40_000)

    assert many <= 1.3 * few


@pytest.mark.requires("skip_locked")
@pytest.mark.parametrize("kind", ["as a migration does", "unique index"])
def test_a_second_flusher_is_not_locked_out(
    app: Flask, make_table: Callable[..., Any], kind: str
) -> None:
    """F12, F4: InnoDB locks all that it scans to sort."""
    own_db = make_table(*KEYS[kind][:2], 2)
    record(own_db, SIGNALS)
    counts: list[int] = []

    def flush_meanwhile(cls: Any, objs: Any) -> None:
        sent.extend((o.a, o.b, o.c) for o in objs)
        if not counts:
            counts.append(-1)
            with own_app.app_context():
                counts[0] = own_db.signalbus.flushmany()

    own_app: Any = current_app._get_current_object()  # type: ignore[attr-defined]
    sent: list[tuple[int, ...]] = []
    own_db.walked.send_signalbus_messages = classmethod(flush_meanwhile)
    own_db.walked.send_signalbus_message = classmethod(
        lambda cls, obj: flush_meanwhile(cls, [obj])
    )

    count = own_db.signalbus.flushmany()

    assert counts[0] == len(SIGNALS) - 2
    assert count + counts[0] == len(SIGNALS)
    assert sorted(sent) == sorted(SIGNALS)
