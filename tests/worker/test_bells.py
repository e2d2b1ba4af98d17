"""The wake-up of a waiting worker: rule W6."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from threading import Event, Thread, Timer
from typing import Any

import pytest
import sqlalchemy as sa
from blinker import Signal
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import DBAPIError, OperationalError

from support.broker import Broker
from support.capabilities import KILL_OTHERS
from support.models import Account, Note, Pair, Parcel, Sends, db
from support.own_models import OwnModel, model_of
from support.signatures import AppFactory, DBFactory, Record
from swpt_pythonlib.flask_signalbus import (
    SignalBus,
    _bells,
    _ears,
    _open_ears,
    _ringing,
)
from swpt_pythonlib.flask_signalbus._bells import Bell, bell_for

#: Nothing that is waited for takes so long, unless it is missed.
LONG = 30.0
#: Long enough for what should not be heard.
SHORT = 0.4

NEVER = Event()


def rings(bell: Bell) -> bool:
    """Tell whether a wait ends before it has to."""
    started = time.monotonic()
    bell.wait(LONG, NEVER)
    return time.monotonic() - started < LONG


def is_quiet(bell: Bell) -> bool:
    """Tell whether a wait lasts as long as it was asked to."""
    started = time.monotonic()
    bell.wait(SHORT, NEVER)
    return time.monotonic() - started >= SHORT


@contextmanager
def another_process() -> Iterator[None]:
    """Have bells not be told of what is committed, except by the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ringing, "committed", Signal())
        yield


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Have bells not linger, so that only a ring ends a wait early."""
    monkeypatch.setattr(_bells, "_SHORTEST_PATIENCE", 2 * LONG)
    monkeypatch.setattr(_bells, "_LONGEST_PATIENCE", 2 * LONG)
    return 2 * LONG


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Return what closes bells before their engines."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_bell(patience: float, app: Flask, cleanup: ExitStack) -> Callable[..., Bell]:
    """Return what makes a bell for some of the sample models."""

    def make_bell(*models: Any) -> Bell:
        bell = bell_for(db, models or [Note])
        cleanup.callback(bell.close)
        return bell

    return make_bell


@pytest.fixture
def bell(make_bell: Callable[..., Bell]) -> Bell:
    return make_bell()


@pytest.fixture
def elsewhere(record: Record) -> Record:
    """Return what records signals as another process would."""

    def elsewhere(model: Any, *texts: str) -> list[Any]:
        with another_process():
            return record(model, *texts)

    return elsewhere


@pytest.fixture
def sent_rings(app: Flask) -> Iterator[list[Any]]:
    """Return what the statements that ring have carried."""
    sent: list[Any] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: Any) -> None:
        if "pg_notify" in statement:
            sent.append(parameters["ring"])

    sa.event.listen(db.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(db.engine, "before_cursor_execute", note)


def lines(log: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return the levels and the beginnings of what is told of wake-ups."""
    return [
        (r.levelno, r.getMessage().partition(":")[0])
        for r in log.records
        if r.name.startswith("swpt_pythonlib") and "wake" in r.getMessage()
    ]


INTERRUPTED = "Signals that are recorded do not wake the worker up for now"
RESTORED = "Signals that are recorded wake the worker up again."


# What rings.


def add_note(text: str) -> None:
    db.session.add(Note(text=text))
    db.session.commit()


def add_account() -> None:
    db.session.add(Account(id=1))
    db.session.commit()


def add_and_commit() -> None:
    add_note("a")


def record_in_a_block() -> None:
    db.execute_atomic(lambda: db.session.add(Note(text="a")))


def flush_then_commit() -> None:
    db.session.add(Note(text="a"))
    db.session.flush()
    db.session.add(Account(id=1))
    db.session.commit()


def insert_many() -> None:
    db.session.execute(sa.insert(Note), [{"text": "a"}, {"text": "b"}])
    db.session.commit()


def record_after_a_savepoint_was_rolled_back() -> None:
    savepoint = db.session.begin_nested()
    db.session.add(Note(text="a"))
    db.session.flush()
    savepoint.rollback()
    db.session.add(Note(text="b"))
    db.session.commit()


@pytest.mark.parametrize(
    "record_a_note",
    [
        add_and_commit,
        record_in_a_block,
        flush_then_commit,
        insert_many,
        record_after_a_savepoint_was_rolled_back,
    ],
)
def test_a_commit_in_another_process_rings(
    bell: Bell, record_a_note: Callable[[], None]
) -> None:
    """W6."""
    with another_process():
        record_a_note()

    assert rings(bell)


def test_a_commit_during_a_wait_rings(app: Flask, bell: Bell) -> None:
    """W6: not only one that came before."""

    def record_soon() -> None:
        time.sleep(SHORT)
        with app.app_context(), another_process():
            add_and_commit()

    recorder = Thread(target=record_soon)
    recorder.start()
    has_rung = rings(bell)

    recorder.join()
    assert has_rung


def test_what_is_recorded_after_the_last_look_of_a_pass_rings(
    bell: Bell, bus: SignalBus, broker: Broker, elsewhere: Record
) -> None:
    """W6: a bell hears from the time when it was made, before the first pass."""
    elsewhere(Note, "a")
    bus.flushmany([Note])
    elsewhere(Note, "b")

    assert rings(bell)
    bus.flushmany([Note])
    assert broker.sent == ["a", "b"]


def test_a_bell_is_quiet_when_nothing_of_interest_happens(
    bell: Bell, elsewhere: Record, bus: SignalBus
) -> None:
    """W6: rolled back, another model, no signal at all, and all that has been sent."""
    db.session.add(Note(text="a"))
    db.session.flush()
    db.session.rollback()
    elsewhere(Parcel, "b")
    add_account()

    assert is_quiet(bell)


def test_a_signal_that_stays_does_not_ring_again_and_again(
    bell: Bell, elsewhere: Record
) -> None:
    """W6, W2: not even while others write, or it would be tried with each write."""
    elsewhere(Note, "bad")

    assert rings(bell)
    assert is_quiet(bell)
    add_account()
    assert is_quiet(bell)
    elsewhere(Note, "good")
    assert rings(bell)
    assert is_quiet(bell)


@pytest.mark.once
def test_a_database_in_memory_rings_in_its_process(
    make_db: DBFactory, patience: float
) -> None:
    """W6: there is no second connection to it."""
    own_db = make_db()
    app = Flask("in memory")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    own_db.init_app(app)

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    with app.app_context():
        own_db.create_all()
        bell = bell_for(own_db, [Letter])
        own_db.session.add(Letter())
        own_db.session.commit()

        assert rings(bell)
        assert is_quiet(bell)
        bell.close()
        own_db.engine.dispose()


def test_each_database_of_the_models_rings(
    make_db: DBFactory,
    new_database: Callable[[], str],
    patience: float,
    cleanup: ExitStack,
) -> None:
    """W6: one wait for all of them."""
    own_db = make_db(binds={"other": new_database()})

    @model_of(own_db)
    class Here(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    @model_of(own_db)
    class There(Sends, OwnModel):
        __bind_key__ = "other"

        id = sa.Column(sa.Integer, primary_key=True)

    own_db.create_all()
    cleanup.callback(own_db.engines["other"].dispose)
    bell = bell_for(own_db, [Here, There])
    cleanup.callback(bell.close)

    for model in (Here, There):
        assert is_quiet(bell)
        with another_process():
            own_db.session.add(model())
            own_db.session.commit()
        assert rings(bell)
        own_db.session.execute(sa.delete(model))
        own_db.session.commit()


@pytest.mark.requires("notifications")
def test_a_bus_that_was_attached_by_hand_rings(
    database_url: str, patience: float, cleanup: ExitStack
) -> None:
    """W6: without the mixin."""
    plain_db = SQLAlchemy()
    app = Flask("by hand")
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    plain_db.init_app(app)
    SignalBus(plain_db).init_app(app)

    @model_of(plain_db)
    class Letter(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    cleanup.enter_context(app.app_context())
    plain_db.create_all()
    cleanup.callback(plain_db.engine.dispose)
    cleanup.callback(plain_db.drop_all)
    bell = bell_for(plain_db, [Letter])
    cleanup.callback(bell.close)
    with another_process():
        plain_db.session.add(Letter())
        plain_db.session.commit()

    assert rings(bell)
    plain_db.session.remove()


# How a wait ends otherwise.


@pytest.mark.parametrize("delay", [0.0, SHORT])
def test_a_wait_ends_when_the_worker_is_to_stop(bell: Bell, delay: float) -> None:
    """W6, though nothing rings."""
    stop = Event()
    timer = Timer(delay, stop.set)

    started = time.monotonic()
    timer.start()
    bell.wait(LONG, stop)

    assert time.monotonic() - started < LONG


def test_after_a_ring_the_waits_are_short_at_first(
    app: Flask, elsewhere: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: what was recorded soon after a ring may not have rung."""
    monkeypatch.setattr(_bells, "_SHORTEST_PATIENCE", 0.01)
    bell = bell_for(db, [Note])
    elsewhere(Note, "a")

    started = time.monotonic()
    for _ in range(5):
        bell.wait(LONG, NEVER)
    lingered = time.monotonic() - started

    bell.close()
    # A ring, then pauses that double: 10, 20, 40 and 80 milliseconds.
    assert 0.15 <= lingered < LONG


def test_after_a_while_the_waits_are_as_long_as_they_may_be(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: an idle worker looks no more often than it is told to."""
    monkeypatch.setattr(_bells, "_SHORTEST_PATIENCE", 0.01)
    bell = bell_for(db, [Note])
    for _ in range(7):
        bell.wait(0.05, NEVER)

    assert is_quiet(bell)
    bell.close()


# What rings cost those who record.


@pytest.mark.requires("notifications")
def test_a_transaction_rings_once_and_only_if_it_records(
    sent_rings: list[Any], record: Record, bus: SignalBus
) -> None:
    """W6, A7: nor does a burst ring, which deletes signals."""
    db.execute_atomic(lambda: db.session.add(Account(id=1)))
    db.execute_atomic(lambda: db.session.get(Account, 1))
    assert sent_rings == []

    record(Note, "a", "b", "c")
    bus.flushmany()

    assert sent_rings == ["note"]


@pytest.mark.requires("notifications")
def test_one_ring_is_for_all_that_a_flush_has_recorded(sent_rings: list[Any]) -> None:
    """W6: which bells of either model hear."""
    db.session.add_all([Note(text="a"), Parcel(text="b")])
    db.session.commit()

    assert sent_rings == ["note\nparcel"]


@pytest.mark.requires("notifications")
def test_a_ring_that_would_be_too_long_is_for_everybody(
    bell: Bell, elsewhere: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: the database would refuse it, and the signals with it."""
    monkeypatch.setattr(_ringing, "_LONGEST_RING", 3)

    elsewhere(Parcel, "a")

    assert rings(bell)


def throttle_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a process ring so many times for a table, and then no more."""
    monkeypatch.setattr(_ringing, "THROTTLE", 1000.0)
    monkeypatch.setattr(_ringing, "RINGS_AT_ONCE", count)


@pytest.mark.requires("notifications")
def test_rings_are_throttled(
    sent_rings: list[Any], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: for each model, by what has been committed lately."""
    throttle_after(3, monkeypatch)

    for i in range(20):
        record(Note, f"{i}")
    record(Parcel, "a")

    assert sent_rings == ["note", "note", "note", "parcel"]


@pytest.mark.requires("notifications")
def test_a_ring_that_is_not_committed_throttles_nobody(
    app: Flask, sent_rings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: or else it would take as long to be heard as that transaction takes."""
    throttle_after(1, monkeypatch)
    db.session.add(Note(text="slow"))
    db.session.flush()
    with app.app_context():
        add_and_commit()
    db.session.rollback()
    with app.app_context():
        add_and_commit()

    assert sent_rings == ["note", "note"]


@pytest.mark.requires("notifications")
def test_a_transaction_that_takes_long_rings_at_its_commit(
    sent_rings: list[Any], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: if it was throttled when it recorded, and the others have been heard."""
    throttle_after(1, monkeypatch)
    record(Note, "a")
    db.session.add(Note(text="b"))
    db.session.flush()
    assert sent_rings == ["note"]

    monkeypatch.setattr(_ringing, "RINGS_AT_ONCE", 2)
    db.session.commit()

    assert sent_rings == ["note", "note"]


@pytest.mark.requires("notifications")
def test_an_aborted_transaction_does_not_ring(
    sent_rings: list[Any], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: it would raise an error where there was none."""
    throttle_after(1, monkeypatch)
    record(Note, "a")
    db.session.add(Note(text="b"))
    db.session.flush()
    with pytest.raises(DBAPIError):
        db.session.execute(sa.text("SELECT 1 / 0"))
    monkeypatch.setattr(_ringing, "RINGS_AT_ONCE", 2)

    db.session.commit()

    assert sent_rings == ["note"]


@pytest.mark.requires("notifications")
@pytest.mark.parametrize("begins_itself", [True, False])
def test_a_transaction_of_two_phases_does_not_ring(
    begins_itself: bool, make_db: DBFactory
) -> None:
    """W6: PostgreSQL refuses to prepare one that has, whoever has begun it."""
    own_db = make_db(session_options={"twophase": begins_itself})

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    own_db.create_all()
    statements: list[str] = []
    sa.event.listen(
        own_db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    with own_db.engine.connect() as connection:
        if not begins_itself:
            connection.begin_twophase()
            own_db.session().get_bind = lambda *_, **__: connection
        own_db.session.add(Letter())
        own_db.session.flush()
        own_db.session.rollback()

    assert [s.split()[0] for s in statements] == ["INSERT"]


def test_the_wake_up_can_be_turned_off(
    make_app: AppFactory, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: for those who record, and those who wait."""
    app = make_app()
    app.config["SIGNALBUS_WAKE_UP"] = False
    with app.app_context():
        statements: list[str] = []
        bell = bell_for(db, [Note])
        sa.event.listen(
            db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
        )
        add_and_commit()

        assert is_quiet(bell)
        assert not any("pg_notify" in statement for statement in statements)
        bell.close()


# What waiting costs.


@pytest.mark.requires("notifications")
def test_a_waiting_worker_sends_no_statement(bell: Bell) -> None:
    """W6."""
    statements: list[str] = []
    sa.event.listen(
        db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )

    bell.wait(SHORT, NEVER)

    assert statements == []


def test_a_bell_takes_no_connection_from_the_pool(
    make_app: AppFactory, patience: float
) -> None:
    """W6, F12: one is enough for the passes."""
    with make_app(pool_size=1, max_overflow=0, pool_timeout=1).app_context():
        bell = bell_for(db, [Note])
        with another_process():
            add_and_commit()

        assert rings(bell)
        assert db.signalbus.flushmany([Note]) == 1
        bell.close()


@pytest.mark.requires("notifications")
def test_a_thousand_rings_are_a_few(bell: Bell) -> None:
    """W6: a pass for each would be a pass too many; they come in lots."""
    with db.engine.connect() as connection:
        for _ in range(1000):
            connection.execute(sa.text("SELECT pg_notify('signalbus', 'note')"))
            connection.commit()

    lots = next(number for number in count() if is_quiet(bell))

    assert 1 <= lots < 500


# Faults.


def execute(url: str, query: str) -> None:
    """Execute the statements that a query yields, each by itself."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in connection.exec_driver_sql(query).scalars().all():
            connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def outage(engine: sa.Engine) -> Iterator[None]:
    """Have nobody get a new connection."""

    def refuse(*_: object) -> None:
        raise OperationalError("connect", {}, Exception("the server is down"))

    sa.event.listen(engine, "do_connect", refuse)
    try:
        yield
    finally:
        sa.event.remove(engine, "do_connect", refuse)


@pytest.mark.requires("concurrent_writers")
def test_a_bell_survives_the_loss_of_its_connection(
    bell: Bell,
    tables: str,
    dialect_name: str,
    elsewhere: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """W6: what has come in between may have been missed, so a pass is due."""
    caplog.set_level(logging.INFO)
    db.engine.dispose()
    execute(tables, KILL_OTHERS[dialect_name])

    assert rings(bell)

    assert lines(caplog) == [(logging.WARNING, INTERRUPTED), (logging.INFO, RESTORED)]
    db.engine.dispose()
    elsewhere(Note, "a")
    assert rings(bell)


@pytest.mark.requires("concurrent_writers")
def test_a_bell_survives_a_restart_of_the_server(
    bell: Bell, tables: str, dialect_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """W6: it is quiet in the meantime, with one line of the log in all."""
    caplog.set_level(logging.INFO)
    with outage(db.engine):
        db.engine.dispose()
        execute(tables, KILL_OTHERS[dialect_name])
        assert is_quiet(bell)
        bell.wait(1.5, NEVER)
        assert lines(caplog) == [(logging.WARNING, INTERRUPTED)]

    assert rings(bell)
    assert lines(caplog)[1:] == [(logging.INFO, RESTORED)]


def test_a_bell_survives_an_outage_of_days(
    make_bell: Callable[..., Bell],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """W6: however often it has failed to connect; there is an end of all floats."""
    monkeypatch.setattr(_open_ears, "_CONNECTING_PAUSES", (1e-9, 1e-9))
    db.engine.dispose()
    with outage(db.engine):
        bell = make_bell()
        for ear in bell._ears * 1100:
            assert not ear.hears()

    assert rings(bell)
    assert lines(caplog) == [(logging.WARNING, INTERRUPTED)]


@contextmanager
def without_table(model: Any) -> Iterator[None]:
    """Have a table missing for a while."""
    model.__table__.drop(db.engine)
    try:
        yield
    finally:
        db.metadata.create_all(db.engine)


def test_a_table_that_is_missing_does_not_make_a_bell_deaf_to_others(
    make_bell: Callable[..., Bell], elsewhere: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """W6, W2: the pass tells of it, and the others are flushed at once as ever."""
    caplog.set_level(logging.INFO)
    with without_table(Pair):
        bell = make_bell(Pair, Note)
        assert is_quiet(bell)
        elsewhere(Note, "a")

        assert rings(bell)
        assert is_quiet(bell)
    assert lines(caplog) == []


def test_a_bell_of_a_missing_table_says_so_once_at_the_most(
    make_bell: Callable[..., Bell], caplog: pytest.LogCaptureFixture
) -> None:
    """W6, W2: and not at each attempt to hear of it."""
    caplog.set_level(logging.INFO)
    with without_table(Pair):
        bell = make_bell(Pair)
        assert is_quiet(bell)
        bell.wait(1.5, NEVER)

    assert lines(caplog) in ([], [(logging.WARNING, INTERRUPTED)])


def test_a_bell_may_be_made_while_the_server_is_down(
    make_bell: Callable[..., Bell], caplog: pytest.LogCaptureFixture
) -> None:
    """W6: the pass tells what is wrong; the worker goes on."""
    db.engine.dispose()
    with outage(db.engine):
        bell = make_bell()
        assert is_quiet(bell)

    assert rings(bell)
    assert lines(caplog) == [(logging.WARNING, INTERRUPTED)]


def test_no_connection_is_trusted_for_ever(
    bell: Bell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """W6, F20: one that has died without a word looks like a quiet one.

    One to a server that is no longer the one, too; so the pool's is not used instead.
    """
    caplog.set_level(logging.INFO)
    db.session.remove()
    with db.engine.connect() as connection:
        idle = connection.connection.dbapi_connection
    opened: list[object] = []
    sa.event.listen(db.engine, "connect", lambda *args: opened.append(args[0]))
    after_an_hour = time.monotonic() + 3600
    with monkeypatch.context() as patch:
        patch.setattr(_open_ears, "monotonic", lambda: after_an_hour)

        assert rings(bell)

    [ear] = bell._ears
    assert ear._connection is not None
    assert ear._connection.connection.dbapi_connection in opened
    with db.engine.connect() as connection:
        assert connection.connection.dbapi_connection is not idle
    assert lines(caplog) == []


@pytest.mark.requires("notifications")
def test_where_listen_gets_lost_the_tables_are_looked_at(
    make_bell: Callable[..., Bell], elsewhere: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """W6: behind a pooler of transactions, LISTEN is left behind on some connection."""

    def lose(*args: Any) -> tuple[str, Any]:
        return args[2].replace("LISTEN signalbus", "SELECT 1"), args[3]

    sa.event.listen(db.engine, "before_cursor_execute", lose, retval=True)
    bell = make_bell()
    sa.event.remove(db.engine, "before_cursor_execute", lose)

    assert "LISTEN does not work on this connection" in caplog.text
    assert is_quiet(bell)
    elsewhere(Note, "a")
    assert rings(bell)
    assert is_quiet(bell)


@pytest.mark.requires("notifications")
def test_it_is_told_once_that_listen_gets_lost(
    make_bell: Callable[..., Bell],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """W6, F18: and not each time that the connection is replaced."""
    monkeypatch.setattr(_open_ears, "_LONGEST_TRUST", 0.0)
    monkeypatch.setattr(_ears.Listening, "hears_echo", lambda *_: False)

    bell = make_bell()
    assert rings(bell)
    assert rings(bell)

    assert caplog.text.count("LISTEN does not work") == 1


def test_a_model_that_cannot_be_flushed_is_left_to_the_pass(
    make_bell: Callable[..., Bell], elsewhere: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W6: a bell raises nothing."""
    get_bind = db.session().get_bind

    def fail_for_parcels(mapper: Any = None, **kwargs: Any) -> Any:
        if mapper is Parcel:
            raise LookupError
        return get_bind(mapper, **kwargs)

    monkeypatch.setattr(db.session(), "get_bind", fail_for_parcels)
    bell = make_bell(Parcel, Note)
    monkeypatch.undo()
    elsewhere(Note, "a")

    assert rings(bell)


# The worker.


@contextmanager
def worker(app: Flask, broker: Broker) -> Iterator[Callable[[str], bool]]:
    """Run the command; yield what waits until a text arrives, and tells whether."""
    arrived: defaultdict[str, Event] = defaultdict(Event)

    def note_arrival(text: str) -> None:
        if text == "stop":
            raise KeyboardInterrupt
        arrived[text].set()

    broker.meanwhile = note_arrival
    arguments = ["signalbus", "flushmany", "--repeat", "999"]
    run = app.test_cli_runner().invoke
    thread = Thread(target=run, kwargs={"args": arguments})
    thread.start()
    try:
        yield lambda text: arrived[text].wait(LONG)
    finally:
        add_note("stop")
        thread.join(LONG)
    assert not thread.is_alive()


def test_a_worker_sends_at_once_what_is_pending_and_what_comes(
    app: Flask, broker: Broker, elsewhere: Record
) -> None:
    """W6: --repeat is the longest wait."""
    elsewhere(Note, "pending")

    with worker(app, broker) as arrives:
        assert arrives("pending")
        for text in ("first", "second"):
            elsewhere(Note, text)
            assert arrives(text)


@pytest.mark.parametrize("delay", [0.0, SHORT])
def test_what_does_not_ring_because_it_is_throttled_is_sent_soon(
    app: Flask,
    broker: Broker,
    elsewhere: Record,
    monkeypatch: pytest.MonkeyPatch,
    delay: float,
) -> None:
    """W6: however long its COMMIT may take after that was decided."""
    with worker(app, broker) as arrives:
        throttle_after(1, monkeypatch)
        elsewhere(Note, "rings")
        assert arrives("rings")
        time.sleep(delay)
        elsewhere(Note, "silent")
        assert arrives("silent")
