"""A worker in an outage: its pauses, its log, and its return."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from support.broker import Broker
from support.capabilities import KILL, SESSION_ID
from support.models import Note, Parcel, db
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus._models import Model
from swpt_pythonlib.flask_signalbus._tallies import Tally
from swpt_pythonlib.flask_signalbus._worker import Flusher, Pace, Worker

Clock = Callable[[], float]

WARNING, ERROR = logging.WARNING, logging.ERROR


class Bell:
    """A bell of a test: notes the pauses, and does something in each."""

    def __init__(self, stop: threading.Event, *meanwhile: Callable[[], object]) -> None:
        self.pauses: list[float] = []
        self._stop = stop
        self._meanwhile = list(meanwhile)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """End the pause at once, and the work when there is nothing more to do."""
        assert stop is self._stop
        self.pauses.append(seconds)
        if self._meanwhile:
            self._meanwhile.pop(0)()
        else:
            stop.set()

    def close(self) -> None:
        """Release nothing."""


def nothing() -> None:
    """Happens in a pause."""


class Rig:
    """A worker for the sample models whose pauses the test fills."""

    def __init__(
        self, app: Flask, repeat: float, max_pause: float, *models: Model
    ) -> None:
        self.stop = threading.Event()
        self.tallies: list[Tally] = []
        self._pace = Pace(repeat=repeat, max_pause=max_pause)
        self._bus = app.extensions["signalbus"]
        self._models = models or None
        self.flusher = Flusher(app, self._flush, stop=self.stop)

    def run(self, *meanwhile: Callable[[], object]) -> list[float]:
        """Work through some pauses and one more; return how long they were meant."""
        bell = Bell(self.stop, *meanwhile)
        Worker(self.flusher, pace=self._pace, bell=bell).run()
        return bell.pauses

    def _flush(self, tally: Tally) -> None:
        self.tallies.append(tally)
        db.session.remove()
        self._bus._flush(self._models, tally)


@pytest.fixture
def rig(app: Flask) -> Rig:
    return Rig(app, repeat=4.0, max_pause=20.0)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "swpt_pythonlib.flask_signalbus")
    return caplog


def noted(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that say what is wrong, cut after their first words."""
    messages = [r.getMessage() for r in log.records if r.levelno >= WARNING]
    return [" ".join(message.split()[:2]) for message in messages]


@pytest.mark.parametrize(
    ("failures", "longest"),
    [(1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0), (5, 20.0), (9999, 20.0)],
)
def test_pauses_grow_up_to_a_limit(failures: int, longest: float) -> None:
    """W2."""
    pace = Pace(repeat=4.0, max_pause=20.0)

    assert pace.longest_pause_after(failures) == longest
    pauses = [pace.pause_after(failures) for _ in range(99)]
    assert all(longest / 2 <= pause <= longest for pause in pauses)


@pytest.mark.parametrize(("repeat", "longest"), [(0.1, 0.2), (30.0, 2.0)])
def test_the_first_pause_of_an_outage_is_short_though_repeat_is_long(
    repeat: float, longest: float
) -> None:
    """W2, W6: a lost connection must not be as long a wait as no signals."""
    pace = Pace(repeat=repeat, max_pause=20.0)

    assert pace.pause_after(0) == repeat
    assert longest / 2 <= pace.pause_after(1) <= longest


def test_pauses_differ_between_workers() -> None:
    """W2: those that have failed at the same time come back at different times."""
    pace = Pace(repeat=4.0, max_pause=20.0)

    assert len({pace.pause_after(5) for _ in range(9)}) > 5


def test_a_limit_below_the_rhythm_changes_nothing() -> None:
    """W2."""
    assert Pace(repeat=90.0, max_pause=60.0).longest_pause_after(7) == 90.0


def test_a_worker_that_finds_nothing_keeps_its_rhythm(rig: Rig) -> None:
    """W2: '--repeat' is from beginning to beginning."""
    pauses = rig.run(nothing, nothing)

    assert len(pauses) == 3
    assert all(0 < pause <= 4.0 for pause in pauses)


def test_a_flush_that_has_found_signals_is_followed_by_the_next_at_once(
    rig: Rig, record: Record
) -> None:
    """W2: the pause comes when nothing is left."""
    record(Note, "a")

    pauses = rig.run(lambda: record(Note, "b"))

    assert [tally.sent for tally in rig.tallies] == [1, 0, 1, 0]
    assert len(pauses) == 2


def test_pauses_are_back_at_the_rhythm_with_the_first_success(
    rig: Rig, broker: Broker, record: Record
) -> None:
    """W2."""
    record(Note, "a")
    broker.go_down()

    def break_down() -> None:
        record(Note, "b")
        broker.go_down()

    pauses = rig.run(nothing, nothing, broker.recover, break_down)

    assert broker.sent == ["a"]
    assert [1 <= pauses[0] <= 2, 2 <= pauses[1] <= 4, 4 <= pauses[2] <= 8] == [True] * 3
    assert 2.0 < pauses[3] <= 4.0
    assert 1.0 <= pauses[4] <= 2.0


def test_a_bad_signal_does_not_slow_down_a_worker_that_has_others_to_send(
    rig: Rig, broker: Broker, record: Record
) -> None:
    """W2, F9: it is no outage."""
    record(Note, "bad", "a")
    broker.refuse("bad")

    pauses = rig.run(lambda: record(Note, "b"), lambda: record(Note, "c"))

    assert broker.sent == ["a", "b", "c"]
    assert pauses == [4.0, 4.0, 4.0]


def test_an_outage_is_told_of_once_and_its_end_too(
    rig: Rig,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
) -> None:
    """W2: with one traceback; and no line in between before the pause is over."""
    record(Note, "a")
    record(Parcel, "b")
    broker.go_down()

    rig.run(nothing, nothing, nothing, broker.recover)

    assert noted(log) == [
        "Failed to",  # one signal of each cause
        "Further failures",
        "Caught error",
        "Recovered from",
    ]
    assert log.text.count("Traceback") == 1
    assert "During handling" not in log.text
    (recovered,) = [r for r in log.records if "Recovered" in r.getMessage()]
    assert vars(recovered)["signalbus_seconds"] > 0


def test_each_pause_of_an_outage_has_a_line_at_most(
    app: Flask,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
) -> None:
    """W2: nothing else is logged at the level INFO."""
    rig = Rig(app, repeat=1e-9, max_pause=1e-9)
    record(Note, "a")
    broker.go_down()

    rig.run(log.clear, nothing, nothing)

    assert [r.getMessage().partition(" after ")[0] for r in log.records] == [
        "Still failing",
        "Still failing",
        "Still failing",
    ]


def test_it_is_told_at_once_that_an_outage_is_over(
    app: Flask, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """W2: and not when a long backlog has been sent."""
    rig = Rig(app, 0.001, 0.001, Note)
    heard: list[list[str]] = []

    def send(text: str) -> None:
        if len(rig.tallies) == 3:
            broker.recover()
        if text == "12":
            heard.append([m for m in log.messages if m.startswith("Signals can")])

    record(Note, *[f"{i:02}" for i in range(20)])
    broker.go_down()
    broker.meanwhile = send

    rig.run()

    assert len(broker.sent) == 20
    (told,) = heard[-1]
    assert (
        vars(next(r for r in log.records if r.getMessage() == told))[
            "signalbus_seconds"
        ]
        > 0
    )


def test_a_new_cause_in_an_outage_is_told_of(
    rig: Rig,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """W2: each cause has one traceback, and an end of its own."""

    def fail(_: Any) -> None:
        raise KeyError("payload")

    record(Note, "a")
    record(Parcel, "b")
    broker.go_down()

    rig.run(
        lambda: monkeypatch.setattr(Parcel, "send_signalbus_message", fail),
        broker.recover,
        monkeypatch.undo,
    )

    told = [r for r in log.records if r.exc_info]
    ends = [r.getMessage() for r in log.records if "Recovered" in r.getMessage()]
    assert [vars(r)["signalbus_error"] for r in told] == ["BrokerRefused", "KeyError"]
    assert [r.levelno for r in told] == [ERROR, ERROR]
    assert [end.split()[2] for end in ends] == ["BrokerRefused", "KeyError"]


def test_an_outage_that_returns_is_told_of_again(
    rig: Rig, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """W2: though a bad signal has failed all the time."""

    def refuse_bad() -> None:
        broker.refuse("bad")

    def break_down() -> None:
        broker.refused = unreachable

    def unreachable(text: str) -> bool:
        raise ConnectionRefusedError(text)

    record(Note, "bad", "worse")
    refuse_bad()

    rig.run(break_down, refuse_bad, break_down)

    errors = [vars(r)["signalbus_error"] for r in log.records if r.exc_info]
    assert errors.count("ConnectionRefusedError") == 2


def kill_connections(url: str, dialect: str, numbers: list[int]) -> None:
    """Have the server end connections, as when it is restarted."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for number in numbers:
            connection.exec_driver_sql(KILL[dialect].format(number))
    engine.dispose()


@pytest.mark.requires("row_locks")
@pytest.mark.parametrize("is_pausing", [False, True], ids=["in a send", "in a pause"])
def test_a_worker_outlives_the_loss_of_its_connections(
    is_pausing: bool,
    app: Flask,
    broker: Broker,
    record: Record,
    pending: Pending,
    tables: str,
    dialect_name: str,
    log: pytest.LogCaptureFixture,
) -> None:
    """W2, F20: the cause is told of once, and everything is sent."""
    rig = Rig(app, 4.0, 20.0, Note)
    numbers: list[int] = []

    def note_number() -> None:
        number = db.session.scalar(text(SESSION_ID[dialect_name]))
        assert number is not None
        numbers.append(number)

    def kill(_: str) -> None:
        broker.meanwhile = nothing_happens
        note_number()
        kill_connections(tables, dialect_name, numbers)

    def lose_connections() -> None:
        record(Note, *"hijklm")
        db.session.commit()
        note_number()
        db.session.remove()
        kill_connections(tables, dialect_name, numbers)

    def nothing_happens(_: str) -> None:
        pass

    record(Note, *"abcdefg")
    db.session.remove()
    if not is_pausing:
        broker.meanwhile = kill

    rig.run(*[lose_connections if is_pausing else nothing, nothing])

    assert set(broker.sent) >= set("abcdefg")
    assert pending(Note) == []
    assert log.text.count("Caught error") == 1
    assert noted(log).count("Recovered from") >= 1


def test_signals_that_are_recorded_in_an_outage_do_not_end_the_pause(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W2: a bell that rings for each would have it hammer at the broker."""
    rig = Rig(app, 0.001, 0.001, Note)
    record(Note, *"abcdefghijklmnop")
    broker.go_down()

    def stop_in_the_third(_: str) -> None:
        if len(rig.tallies) == 3:
            rig.stop.set()

    broker.meanwhile = stop_in_the_third

    pauses = rig.run(nothing)

    assert pauses == []
    assert len(rig.tallies) == 3


def test_a_model_in_an_outage_does_not_hold_up_the_others(
    rig: Rig, broker: Broker, record: Record
) -> None:
    """F9, W6: they are sent at once when they are recorded; it is left in peace."""
    tried: list[str] = []

    def note(text: str) -> None:
        tried.append(text)
        if tried.count("a") > 2:  # in a burst, and alone
            rig.stop.set()

    broker.meanwhile = note
    broker.refuse(*"abcdefghijkl")
    record(Note, *"abcdefghijkl")

    rig.run(lambda: record(Parcel, "x"), lambda: record(Parcel, "y"))

    assert broker.sent == ["x", "y"]
    assert [tally.sent for tally in rig.tallies] == [0, 1, 1]
    assert tried[-2:] == ["x", "y"]


def test_others_that_fail_in_an_outage_are_left_in_peace_too(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W2: then nothing is flushed before the pause is over."""
    rig = Rig(app, 60.0, 60.0, Note, Parcel)
    record(Note, *"abcdefghijklmnop")
    broker.go_down()
    # It would be the second pause if something were still listened to.
    threading.Timer(0.5, rig.stop.set).start()

    pauses = rig.run(lambda: record(Parcel, *"ABCDEFGHIJKLMNOP"))

    assert len(pauses) == 1
    assert len(rig.tallies) == 2


def test_an_outage_that_begins_in_a_flush_is_looked_after_soon(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W6: though the flush has sent something, and nothing would be heard meanwhile."""
    rig = Rig(app, 60.0, 60.0, Note)
    record(Note, *"abcdefghijklmnop")
    broker.refused = "a".__lt__
    ended = threading.Timer(5.0, rig.stop.set)
    ended.start()

    def recover_and_stop(text: str) -> None:
        if len(rig.tallies) == 2:
            broker.recover()
            rig.stop.set()

    broker.meanwhile = recover_and_stop

    rig.run()
    ended.cancel()

    assert len(rig.tallies) == 2


def test_an_error_that_no_model_is_to_blame_for_is_told_of_once(
    rig: Rig, app: Flask, log: pytest.LogCaptureFixture
) -> None:
    """W2, W4: a worker outlives a teardown function that fails."""
    contexts: list[str] = []

    def fail(_: BaseException | None) -> None:
        contexts.append("")
        if len(contexts) == 2:
            rig.stop.set()
        raise KeyError("teardown")

    app.teardown_appcontext(fail)
    Worker(
        rig.flusher,
        pace=Pace(repeat=0.001, max_pause=0.001),
        bell=Bell(rig.stop, nothing),
    ).run()
    app.teardown_appcontext_funcs.remove(fail)

    assert len(contexts) == 2
    assert noted(log).count("Caught error") == 1
    assert log.text.count("Traceback") == 1


def test_an_error_at_the_end_of_a_flush_that_has_failed_is_told_of_too(
    rig: Rig,
    app: Flask,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
) -> None:
    """W2, W4."""

    def fail(_: BaseException | None) -> None:
        raise KeyError("teardown")

    record(Note, "a")
    db.session.remove()
    broker.go_down()
    app.teardown_appcontext(fail)

    rig.flusher.flush()

    app.teardown_appcontext_funcs.remove(fail)
    told = [r.getMessage() for r in log.records if r.exc_info]
    assert told == [
        "Failed to end the flush.",
        "Caught error while sending pending signals.",
    ]


def test_a_bell_that_breaks_is_told_of_once_and_done_without(
    app: Flask, log: pytest.LogCaptureFixture
) -> None:
    """W2: the pause is waited for to its end then."""
    rig = Rig(app, repeat=0.001, max_pause=0.001)
    rings: list[str] = []

    class Broken(Bell):
        def wait(self, seconds: float, stop: threading.Event) -> None:
            rings.append("")
            if len(rings) == 3:
                stop.set()
            raise OSError("lost")

    Worker(
        rig.flusher, pace=Pace(repeat=0.001, max_pause=1.0), bell=Broken(rig.stop)
    ).run()

    assert len(rings) == 3
    assert noted(log) == ["A pause"]


def test_ten_seconds_without_a_broker_write_less_than_a_hundred_lines(
    app: Flask, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """W2: at '--repeat 0.2', with a hundred bad bursts of each model."""
    for model in (Note, Parcel):
        record(model, *map(str, range(300)))
    broker.go_down()
    rig = Rig(app, repeat=0.02, max_pause=6.0)  # a tenth of the time
    threading.Timer(1.0, rig.stop.set).start()

    rig.run()

    assert len(log.text.splitlines()) < 100
    assert log.text.count("Traceback") == 1
