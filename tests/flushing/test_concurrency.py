"""Many flushers and recorders at once, in processes and connections of their own."""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask, current_app
from sqlalchemy import Integer, String, create_engine, event, func, insert, select, text
from sqlalchemy.orm import mapped_column

from support import models
from support.broker import Broker, BrokerRefused, broker
from support.capabilities import ANALYZE
from support.models import Letter, Note, Pair, Parcel, SendsMany, Ticket, db
from support.own_models import OwnModel, model_of
from support.processes import Process
from support.signatures import AppFactory, DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus

_TIMEOUT = 30


RunTogether = Callable[..., tuple[int, Counter[str]]]


@pytest.fixture
def run_together(make_app: AppFactory, tables: str, tmp_path: Path) -> RunTogether:
    """Return what runs three flushers beside two recorders."""
    make_app()

    def run_together(
        model: str, *, burst: int, count: int, level: str | None = None
    ) -> tuple[int, Counter[str]]:
        sent, no_more = tmp_path / "sent", tmp_path / "no more"
        flushers = [
            Process(
                "flush",
                url=tables,
                level=level,
                model=model,
                burst=burst,
                sent=str(sent),
                no_more=str(no_more),
            )
            for _ in range(3)
        ]
        recorders = [
            Process(
                "record",
                url=tables,
                level=level,
                model=model,
                first=n * count,
                count=count,
            )
            for n in range(2)
        ]
        try:
            for recorder in recorders:
                recorder.result()

            no_more.touch()
            flushed = sum(flusher.result() for flusher in flushers)
        except BaseException:
            for process in (*flushers, *recorders):
                process.kill()
            raise

        return flushed, Counter(sent.read_text().split())

    return run_together


def once_each(count: int) -> Counter[str]:
    return Counter(map(str, range(count)))


@pytest.mark.parametrize(
    ("model", "burst", "count"),
    [
        pytest.param("Note", 1, 100, id="ascending keys, one by one"),
        pytest.param("Parcel", 7, 300, id="ascending keys, small bursts"),
        pytest.param("Ticket", 7, 300, id="random keys, small bursts"),
        pytest.param("Ticket", 100, 600, id="random keys, large bursts"),
        pytest.param("Pair", 100, 600, id="composite keys, large bursts"),
        pytest.param("Letter", 7, 300, id="keys in another order, small bursts"),
        pytest.param("Letter", 100, 600, id="keys in another order, large bursts"),
    ],
)
def test_each_signal_is_sent_exactly_once_however_many_flush(
    model: str, burst: int, count: int, run_together: RunTogether
) -> None:
    """F4, F2: and what the flushers return adds up; nobody fails."""
    flushed, sent = run_together(model, burst=burst, count=count)

    assert sent == once_each(2 * count)
    assert flushed == 2 * count


@pytest.mark.requires("isolation_levels")
@pytest.mark.parametrize(
    ("level", "burst"),
    [("READ COMMITTED", 1), ("REPEATABLE READ", 7), ("SERIALIZABLE", 100)],
)
def test_the_isolation_level_of_the_application_makes_no_difference(
    level: str, burst: int, run_together: RunTogether
) -> None:
    """F5, F4: recorders keep theirs, and do not fail because of flushers."""
    flushed, sent = run_together("Ticket", burst=burst, count=5000, level=level)

    assert sent == once_each(10_000)
    assert flushed == 10_000


@pytest.mark.parametrize("model", ["Parcel", "Pair"])
def test_nothing_is_lost_when_flushers_are_killed(
    model: str, app: Flask, tables: str, tmp_path: Path, pending: Pending
) -> None:
    """F4: at most one burst is repeated for each of them."""
    sent, no_more, kills, burst = tmp_path / "sent", tmp_path / "no more", 3, 7
    flush = {"url": tables, "level": None, "model": model, "burst": burst}
    flush |= {"sent": str(sent), "no_more": str(no_more)}
    recorder = Process(
        "record", url=tables, level=None, model=model, first=0, count=600
    )
    sent.touch()

    for n in range(1, kills + 1):
        flusher = Process("flush", **flush)
        wait_until(partial(has_lines, sent, n * 70))
        flusher.kill()
    recorder.result()
    no_more.touch()
    Process("flush", **flush).result()

    times = Counter(sent.read_text().split())
    assert set(times) == set(map(str, range(600)))
    assert times.total() <= 600 + kills * burst
    assert pending(getattr(models, model)) == []


@pytest.mark.requires("concurrent_writers")
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_recorders_do_not_wait_for_a_slow_broker(
    level: str, make_app: AppFactory, tables: str
) -> None:
    """F15, F5: neither before nor after the signals that are being sent."""
    engine = create_engine(tables, isolation_level=level)
    app = make_app(isolation_level=level)

    def record_another(_: str) -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT * FROM parcel WHERE id > 100")).all()
            connection.execute(insert(Parcel).values(id=10, text="before"))
            connection.execute(insert(Parcel).values(text="after"))

    with app.app_context():
        db.session.add(Parcel(id=20, text="a"))
        db.session.commit()
        app.extensions["broker"].meanwhile = record_another

        assert app.extensions["signalbus"].flushmany() == 1
        assert db.session.scalar(select(func.count()).select_from(Parcel)) == 2
    engine.dispose()


@pytest.mark.requires("skip_locked")
@pytest.mark.parametrize("burst", [3, 30])
@pytest.mark.parametrize("model", [Letter, Parcel, Pair, Ticket])
def test_a_flusher_passes_over_what_another_one_holds(
    model: Any,
    burst: int,
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F3: and does not wait for it, even when little else is left."""
    monkeypatch.setattr(model, "signalbus_burst_count", burst)
    for i in range(10 * burst):
        key: Any = {
            Letter: {"user_id": "u", "letter_id": i + 1},
            Pair: {"a": 1, "b": i},
            Ticket: {"id": uuid.UUID(int=i)},
        }
        db.session.add(model(text=f"{i:03}", **key.get(model, {})))
    db.session.commit()
    is_nested = threading.Event()

    def flush_elsewhere(_: str) -> None:
        if not is_nested.is_set():
            is_nested.set()
            assert in_thread(app, bus.flushmany) == 9 * burst

    broker.meanwhile = flush_elsewhere

    assert bus.flushmany() == burst
    assert broker.calls[0] == [f"{i:03}" for i in range(burst)]
    assert set(Counter(broker.sent).values()) == {1}


@pytest.mark.requires("skip_locked")
@pytest.mark.parametrize(
    ("count", "burst", "others"),
    [
        pytest.param(7, 2, [String(200)], id="a narrow one"),
        pytest.param(60, 10, [], id="one that has all of the columns"),
    ],
)
def test_flushers_do_not_meet_in_the_index_of_another_column(
    count: int, burst: int, others: list[Any], dialect_name: str, make_db: DBFactory
) -> None:
    """F3: even if it seems cheaper to scan."""
    own_db = make_db()

    @model_of(own_db)
    class Scan(SendsMany, OwnModel):
        signalbus_burst_count = burst
        id = mapped_column(Integer, primary_key=True)
        text = mapped_column(Integer, index=True, default=1)
        note = mapped_column(*others) if others else None

    own_db.create_all()
    own_db.session.add_all(Scan() for _ in range(count))
    own_db.session.commit()
    own_db.session.execute(text(ANALYZE[dialect_name].format("scan")))
    own_db.session.commit()
    flush, proxy = own_db.signalbus.flushmany, cast("Any", current_app)
    app: Flask = proxy._get_current_object()
    is_sending, may_end = threading.Event(), threading.Event()
    pool = ThreadPoolExecutor(1)
    flushes: list[Future[int]] = []

    def send_slowly(_: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            is_sending.set()
            may_end.wait(_TIMEOUT / 3)

    def flush_elsewhere_before_deleting(*arguments: Any) -> None:
        if "DELETE" in arguments[2] and not flushes:
            flushes.append(pool.submit(in_context, app, flush))
            is_sending.wait(_TIMEOUT)

    broker().meanwhile = send_slowly
    event.listen(
        own_db.engine, "before_cursor_execute", flush_elsewhere_before_deleting
    )

    sent = flush()
    is_still_sending = not flushes[0].done()
    may_end.set()

    assert is_still_sending
    assert (sent, flushes[0].result(_TIMEOUT)) == (count - burst, burst)
    pool.shutdown()


def test_a_flusher_waits_for_its_turn_where_there_is_one_writer(
    app: Flask, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F4, F5: two flushers in two threads share the work, everywhere."""
    record(Parcel, *map(str, range(60)))
    barrier = threading.Barrier(2, timeout=_TIMEOUT)

    def flush() -> int:
        barrier.wait()
        return bus.flushmany()

    with ThreadPoolExecutor(2) as pool:
        flushes = [pool.submit(in_context, app, flush) for _ in range(2)]
        counts = [future.result(_TIMEOUT) for future in flushes]

    assert sum(counts) == 60
    assert Counter(broker.sent) == once_each(60)


@pytest.mark.requires("row_locks")
def test_a_failed_burst_releases_its_locks_at_once(
    app: Flask, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F8: another flusher can take over before the call has ended."""
    record(Note, *"abc")
    record(Parcel, *"d")
    broker.refuse(*"abc")

    def flush_notes_elsewhere(text: str) -> None:
        if text == "d":
            broker.recover()
            broker.meanwhile = lambda _: None
            assert in_thread(app, lambda: bus.flushmany([Note])) == 3

    broker.meanwhile = flush_notes_elsewhere
    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert broker.sent == ["a", "b", "c", "d"]


@pytest.mark.requires("vacuum")
def test_a_flush_does_not_stop_the_vacuum(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F12: no snapshot is held, so the rows of earlier bursts can be removed."""
    engine = create_engine(tables, isolation_level="AUTOCOMMIT")
    # SQLAlchemy logs what the server has to say.
    caplog.set_level(logging.INFO, "sqlalchemy.dialects.postgresql")

    def vacuum(text: str) -> None:
        if text == "29":
            with engine.connect() as connection:
                connection.exec_driver_sql("VACUUM (VERBOSE) parcel")

    def everything_is_removed() -> bool:
        record(Parcel, *map(str, range(30)))
        bus.flushmany()
        return "3 remain, 0 are dead but not yet removable" in caplog.text

    broker.meanwhile = vacuum

    # A long transaction of another test's database may stop it for a while.
    wait_until(everything_is_removed)
    engine.dispose()


def has_lines(file: Path, count: int) -> bool:
    return file.read_bytes().count(b"\n") >= count


def in_context(app: Flask, work: Callable[[], int]) -> int:
    with app.app_context():
        return work()


def in_thread(app: Flask, work: Callable[[], int]) -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_context, app, work).result(_TIMEOUT)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 4 * _TIMEOUT
    while not is_so():
        assert time.monotonic() < deadline, "It has not happened in time."
        time.sleep(0.01)
