"""What a burst costs: statements, rows that are read, and memory."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    Column,
    String,
    Uuid,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)

from servers.relay import Relay, relayed
from support.broker import Broker, broker
from support.capabilities import (
    ANALYZE,
    BEGINS,
    ROUND_TRIPS_PER_BURST,
    ROUND_TRIPS_PER_EMPTY_PASS,
    STATEMENTS_PER_BURST,
)
from support.costs import Reads, Statements
from support.models import (
    Pair,
    Parcel,
    SendsMany,
    Ticket,
    db,
    text_column,
)
from support.own_models import OwnModel, model_of
from support.processes import Process
from support.signatures import AppFactory, DBFactory
from swpt_pythonlib.flask_signalbus import SignalBus

_BURST = 10
# More than the forty pages up to which an optimizer may rather read all of a table.
_MANY = 8000


def no_key(number: int) -> dict[str, Any]:
    return {}


KEYS: dict[Any, Callable[[int], dict[str, Any]]] = {
    # One value leads all of the keys.
    Pair: lambda number: {"a": 1, "b": number},
    Ticket: lambda number: {"id": uuid.uuid5(uuid.NAMESPACE_OID, str(number))},
}


def record_many(model: Any, count: int) -> None:
    """Record signals in bulk."""
    rows = [{"text": f"{i:040}", **KEYS.get(model, no_key)(i)} for i in range(count)]
    for i in range(0, count, 1000):
        db.session.execute(insert(model), rows[i : i + 1000])
    db.session.commit()


@pytest.fixture
def statements(app: Flask) -> Iterator[Statements]:
    counter = Statements()
    counter.listen(db.engine)
    yield counter
    event.remove(db.engine, "before_cursor_execute", counter.note_statement)
    event.remove(db.engine, "commit", counter.note_commit)


@pytest.mark.parametrize("model", [Parcel, Pair])
def test_a_burst_takes_as_few_statements_as_possible(
    model: Any, dialect_name: str, bus: SignalBus, statements: Statements
) -> None:
    """F3, F12: and one commit; the table says how many."""

    def cost_of(bursts: int) -> tuple[int, int]:
        record_many(model, 3 * bursts)
        before = statements.count, statements.commits
        bus.flushmany([model])
        return statements.count - before[0], statements.commits - before[1]

    cost_of(1)  # which looks at the table, once
    (few, few_commits), (many, many_commits) = cost_of(4), cost_of(9)

    assert many - few == 5 * STATEMENTS_PER_BURST[dialect_name]
    assert many_commits - few_commits == 5


def test_an_empty_table_costs_one_statement(
    bus: SignalBus, statements: Statements, dialect_name: str
) -> None:
    """F12: idle workers poll many of them."""
    bus.flushmany([Parcel])  # which looks at the table, once
    before = statements.count

    bus.flushmany([Parcel])

    assert statements.count - before == 1 + BEGINS[dialect_name]


@pytest.fixture
def relay(make_app: AppFactory, tables: str) -> Iterator[Relay]:
    """Return what counts round trips; the test runs in the context of an application.

    Its burst count is ten, and it has looked at the table.
    """
    with relayed(make_url(tables)) as found:
        address = {"host": found.url.host, "port": found.url.port}
        with make_app(connect_args=address).app_context():
            db.signalbus.flushmany([Parcel, Pair])
            yield found


@pytest.mark.requires("round_trips")
@pytest.mark.parametrize("model", [Parcel, Pair])
def test_a_burst_takes_as_few_round_trips_as_the_driver_allows(
    model: Any, relay: Relay, dialect_name: str
) -> None:
    """F3: each is a wait, over a network."""

    def cost_of(bursts: int) -> int:
        record_many(model, _BURST * bursts)
        before = relay.count
        assert db.signalbus.flushmany([model]) == _BURST * bursts
        return relay.count - before

    few, many = cost_of(3), cost_of(8)

    assert many - few == 5 * ROUND_TRIPS_PER_BURST[dialect_name]


@pytest.mark.requires("round_trips")
def test_an_empty_pass_takes_as_few_round_trips_as_the_driver_allows(
    relay: Relay, dialect_name: str
) -> None:
    """F12: idle workers poll many tables."""
    before = relay.count

    db.signalbus.flushmany([Parcel])

    assert relay.count - before == ROUND_TRIPS_PER_EMPTY_PASS[dialect_name]


@pytest.fixture
def reads(make_app: AppFactory, dialect_name: str) -> Iterator[Reads]:
    """Return the measure; the test runs in the context of an application."""
    app = make_app()
    with app.app_context():
        measure = Reads(dialect_name, db, app.extensions["broker"], burst=_BURST)
        # PostgreSQL looks a deleted key up again for each foreign key to it, by a plan
        # that it makes once per connection: a scan, if little was pending then.
        db.metadata.tables["receipt"].drop(db.engine)
        yield measure
        db.session.rollback()
        db.metadata.create_all(db.engine)


@pytest.fixture(autouse=True)
def bursts_of_ten(monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    if {"reads", "relay"}.intersection(request.fixturenames):
        for model in (Parcel, Pair, Ticket):
            monkeypatch.setattr(model, "signalbus_burst_count", _BURST)


@pytest.mark.parametrize("model", [Parcel, Pair, Ticket])
def test_what_a_burst_reads_does_not_depend_on_the_backlog(
    model: Any, reads: Reads
) -> None:
    """F12, F13: with statistics of an empty table, if any."""
    record_many(model, 300)
    db.signalbus.flushmany([model])
    with_a_small_backlog = reads.per_burst()
    record_many(model, _MANY)

    db.signalbus.flushmany([model])

    assert reads.per_burst() < 2 * with_a_small_backlog


def test_what_a_large_burst_reads_does_not_depend_on_the_backlog(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F12, F13: even without any statistics, when it is much of the table."""
    monkeypatch.setattr(Parcel, "signalbus_burst_count", 1000)
    reads.burst = 1000
    fill(5000)
    db.signalbus.flushmany([Parcel])
    with_a_small_backlog = reads.per_burst()
    fill(40_000)

    db.signalbus.flushmany([Parcel])

    assert reads.per_burst() < 2 * with_a_small_backlog


@pytest.mark.requires("vacuum")
@pytest.mark.parametrize("burst", [10, 1000])
@pytest.mark.parametrize("model", [Parcel, Pair, Ticket])
def test_what_a_burst_reads_does_not_depend_on_statistics(
    model: Any, burst: int, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F12, F13: even if these are of an hour in which nearly nothing was pending."""
    monkeypatch.setattr(model, "signalbus_burst_count", burst)
    reads.burst = burst
    record_many(model, 3 * _MANY)
    db.session.execute(delete(model))
    record_many(model, 3)
    analyze(model)
    db.session.execute(delete(model))
    record_many(model, _MANY)

    db.signalbus.flushmany([model])

    assert reads.per_burst() <= 2 * burst


@pytest.mark.requires("vacuum")
def test_what_a_burst_reads_does_not_depend_on_statistics_of_siblings(
    make_db: DBFactory, dialect_name: str
) -> None:
    """F12, F13: whose signals were the only ones in the table."""
    own_db = make_db()
    reads = Reads(dialect_name, own_db, broker(), burst=_BURST)

    @model_of(own_db)
    class Event(SendsMany, OwnModel):
        signalbus_burst_count = _BURST
        id = Column(Uuid, primary_key=True, default=uuid.uuid4)
        kind = Column(String(10), nullable=False)
        text = text_column()
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "event"}

    class Started(Event):
        __mapper_args__ = {"polymorphic_identity": "started"}

    own_db.create_all()
    table: Any = inspect(Event).local_table

    def record(kind: str, count: int) -> None:
        rows = [{"kind": kind, "text": f"{n}"} for n in range(count)]
        own_db.session.execute(insert(table), rows)
        own_db.session.commit()

    record("event", 5000)
    own_db.session.execute(text("ANALYZE event"))
    own_db.session.commit()
    own_db.signalbus.flushmany([Event])
    reads.per_burst()
    record("started", 10_000)

    assert own_db.signalbus.flushmany([Started]) == 10_000
    assert reads.per_burst() <= 3 * _BURST


def analyze(model: Any) -> None:
    with db.engine.connect() as connection:
        statement = ANALYZE[connection.dialect.name].format(model.__tablename__)
        connection.execute(text(statement))
        connection.commit()


def test_what_a_burst_reads_does_not_depend_on_dead_rows(
    reads: Reads, tables: str
) -> None:
    """F12: that a snapshot which is open elsewhere keeps alive."""
    record_many(Parcel, 300)
    db.signalbus.flushmany([Parcel])
    without_dead_rows = reads.per_burst()
    record_many(Parcel, _MANY)
    engine = create_engine(tables)

    with engine.connect() as reader:
        reader.execute(text("SELECT COUNT(*) FROM account")).all()
        db.signalbus.flushmany([Parcel])
    engine.dispose()

    assert reads.per_burst() < 2 * without_dead_rows


def test_a_worker_that_idled_on_an_empty_table_keeps_no_plan_for_it(
    reads: Reads,
) -> None:
    """F13: drivers that prepare repeated statements would."""
    record_many(Parcel, 300)
    db.signalbus.flushmany([Parcel])
    with_a_fresh_plan = reads.per_burst()
    for _ in range(20):
        record_many(Parcel, 2 * _BURST + 1)
        db.signalbus.flushmany([Parcel])
    reads.per_burst()
    record_many(Parcel, _MANY)

    db.signalbus.flushmany([Parcel])

    assert reads.per_burst() < 2 * with_a_fresh_plan


@pytest.mark.parametrize("model", [Parcel, Pair])
def test_a_burst_of_fifty_thousand_works(
    model: Any, bus: SignalBus, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14: it is one transaction, and one call of the sender."""
    monkeypatch.setattr(model, "signalbus_burst_count", 50_000)
    record_many(model, 50_001)

    assert bus.flushmany([model]) == 50_001
    assert [len(call) for call in broker.calls] == [50_000, 1]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(200_000, id="200 000"),
        pytest.param(1_000_000, id="1 000 000", marks=pytest.mark.once),
    ],
)
def test_memory_is_that_of_one_burst(count: int, app: Flask, tables: str) -> None:
    """F12: however many signals are pending; the growth in bytes."""
    peaks = []
    for backlog in (50_000, count):
        fill(backlog)
        flush = Process("flush_once", url=tables, model="Parcel", burst=1000)
        sent, peak = flush.result()
        assert sent == backlog
        peaks.append(peak)

    assert peaks[1] - peaks[0] < 16 * 1024 * 1024


def fill(count: int) -> None:
    """Record signals by having the database double them."""
    table: Any = Parcel.__table__
    record_many(Parcel, 1000)
    recorded = 1000
    while recorded < count:
        more = min(recorded, count - recorded)
        copies = select(table.c.text).limit(more)
        db.session.execute(insert(table).from_select(["text"], copies))
        db.session.commit()
        recorded += more
