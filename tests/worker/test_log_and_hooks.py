"""What a flush tells: the records of one logger, the hooks, a note on its error."""

import ast
import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

import swpt_pythonlib.flask_signalbus as package
from support.broker import Broker, BrokerRefused
from support.models import Account, Note, Pair, Parcel, db
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import (
    SignalBus,
    burst_sent,
    pass_ended,
    sending_failed,
)

LOGGER = "swpt_pythonlib.flask_signalbus"
SOURCE = Path(package.__file__).parent


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, LOGGER)
    return caplog


@pytest.fixture
def events(app: Flask) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Return what the hooks tell, but for the times."""
    told: list[tuple[str, dict[str, Any]]] = []
    with ExitStack() as cleanup:
        for hook in (burst_sent, sending_failed, pass_ended):
            cleanup.enter_context(listening(app, hook, told))
        yield told


@contextmanager
def listening(
    app: Flask, hook: NamedSignal, told: list[tuple[str, dict[str, Any]]]
) -> Iterator[None]:
    def listen(sender: object, **facts: Any) -> None:
        assert sender is app
        assert facts.pop("seconds", 0.0) >= 0.0
        told.append((hook.name, facts))

    with hook.connected_to(listen, sender=app):
        yield


def test_a_burst_that_was_sent_is_told_of(
    bus: SignalBus, record: Record, events: list[Any]
) -> None:
    """O1: and the end of the pass."""
    record(Note, *"abcd")

    bus.flushmany([Note])

    assert events == [
        ("burst-sent", {"model": Note, "count": 3}),
        ("burst-sent", {"model": Note, "count": 1}),
        ("pass-ended", {"model": Note, "sent": 4, "failed": 0, "gave_up": False}),
    ]


def test_a_burst_that_failed_is_told_of_and_each_signal_that_fails_alone(
    bus: SignalBus, broker: Broker, record: Record, events: list[Any]
) -> None:
    """O1: a signal by its key."""
    _, bad, _ = record(Note, *"abc")
    broker.refuse("b")
    key = (bad.id,)

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    errors = [facts.pop("error") for name, facts in events if name == "sending-failed"]
    assert [type(error) for error in errors] == [BrokerRefused, BrokerRefused]
    assert events == [
        ("burst-sent", {"model": Note, "count": 1}),
        ("sending-failed", {"model": Note, "count": 3, "key": None}),
        ("sending-failed", {"model": Note, "count": 1, "key": key}),
        ("burst-sent", {"model": Note, "count": 1}),
        ("pass-ended", {"model": Note, "sent": 2, "failed": 1, "gave_up": False}),
    ]


def test_a_pass_that_the_server_has_ended_is_told_of(
    bus: SignalBus, record: Record, events: list[Any]
) -> None:
    """O1, F20: no signal is to blame."""
    record(Parcel, "a")
    db.metadata.tables["receipt"].drop(db.engine)
    db.metadata.tables["parcel"].drop(db.engine)

    try:
        with pytest.raises(Exception, match="parcel"):
            bus.flushmany([Parcel])
    finally:
        db.metadata.create_all(db.engine)

    events[0][1].pop("error")
    assert events == [
        ("sending-failed", {"model": Parcel, "count": 0, "key": None}),
        ("pass-ended", {"model": Parcel, "sent": 0, "failed": 0, "gave_up": True}),
    ]


def test_that_nothing_gets_through_is_told_of(
    bus: SignalBus, broker: Broker, record: Record, events: list[Any]
) -> None:
    """O1, F9."""
    record(Note, *map(str, range(30)))
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert events[-1][1]["gave_up"]
    assert events[-1][1]["sent"] == 0


@pytest.mark.parametrize("hook", [burst_sent, pass_ended], ids=lambda hook: hook.name)
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_a_receiver_that_raises_does_no_harm(
    hook: NamedSignal,
    error: type[BaseException],
    bus: SignalBus,
    record: Record,
    pending: Pending,
    events: list[Any],
    log: pytest.LogCaptureFixture,
) -> None:
    """O1: it is logged once, and the other receivers are called."""

    def fail(_: object, **__: object) -> None:
        raise error("no metrics today")

    record(Note, *"abcdefg")
    record(Pair, "other")

    with hook.connected_to(fail):
        assert bus.flushmany([Note, Pair]) == 8

    failures = [r for r in log.records if r.exc_info]
    assert [r.getMessage() for r in failures] == [
        f"A receiver of '{hook.name}' has failed."
    ]
    names = [name for name, _ in events]
    assert (names.count("burst-sent"), names.count("pass-ended")) == (4, 2)
    assert pending(Note) == pending(Pair) == []


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_receiver_that_does_not_run_is_told_of(
    bus: SignalBus, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """O1: nobody awaits it; Blinker itself would refuse it."""

    async def count(_: object, **__: object) -> None:
        raise AssertionError

    record(Note, *"abcdefg")

    with burst_sent.connected_to(count):
        assert bus.flushmany([Note]) == 7

    assert log.text.count("it must be a plain function") == 1


def test_a_receiver_can_end_the_flush(
    bus: SignalBus, record: Record, pending: Pending
) -> None:
    """O1, F17: by what ends programs. What has been sent stays so."""

    def fail(_: object, **__: object) -> None:
        raise SystemExit

    record(Note, *"abcdefg")

    with burst_sent.connected_to(fail), pytest.raises(SystemExit):
        bus.flushmany([Note])

    assert pending(Note) == list("defg")


def test_a_receiver_that_leaves_a_transaction_does_no_harm(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """O1: the next burst begins with a session that is in none."""

    def read(_: object, **__: object) -> None:
        db.session.scalars(select(Account)).all()

    record(Note, *"abcdefg")
    broker.meanwhile = lambda text: db.session.add(Account(id=ord(text)))

    with burst_sent.connected_to(read):
        assert bus.flushmany([Note]) == 7

    assert not db.session().in_transaction()
    assert len(db.session.scalars(select(Account)).all()) == 7


@pytest.mark.parametrize("hook", [burst_sent, pass_ended], ids=lambda hook: hook.name)
def test_a_receiver_whose_transaction_cannot_be_rolled_back_does_no_harm(
    hook: NamedSignal, bus: SignalBus, record: Record
) -> None:
    """O1: its connection has been lost since then."""

    def be_lost(_: object) -> None:
        raise OperationalError("ROLLBACK", {}, Exception("the server is down"))

    def read(_: object, *, model: Any, **__: object) -> None:
        if model is Note:
            db.session.scalars(select(Account)).all()
            event.listen(db.engine, "rollback", be_lost, once=True)

    record(Note, "a")
    record(Pair, "b")

    with hook.connected_to(read):
        assert bus.flushmany([Note, Pair]) == 2

    assert not db.session().in_transaction()


def test_what_a_receiver_writes_has_nothing_sent_again(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """O1, F9: what a failed burst has sent is deleted before that is told."""
    record(Note, *"abc")
    broker.refuse("c")

    def write(_: object, **__: object) -> None:
        db.session.add(Account(id=len(db.session.scalars(select(Account)).all())))
        db.session.commit()

    with sending_failed.connected_to(write), pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert broker.sent == ["a", "b"]
    assert db.session.scalars(select(Account)).all()


def test_a_receiver_cannot_flush(
    bus: SignalBus, record: Record, pending: Pending, log: pytest.LogCaptureFixture
) -> None:
    """O1: on SQLite, that flush would wait for the one that it is told of."""

    def flush(_: object, **__: object) -> None:
        bus.flushmany([Pair])

    record(Note, *"abc")
    record(Pair, "other")

    with burst_sent.connected_to(flush):
        assert bus.flushmany([Note]) == 3

    assert "can not be flushed by the receiver of a hook" in log.text
    assert pending(Pair) == ["other"]


def test_there_is_one_logger() -> None:
    """F18: a name that is public; none is named after a private module."""
    named: dict[str, list[str]] = {}
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                "getLogger"
            ):
                named.setdefault(ast.unparse(node.args[0]), []).append(path.stem)

    assert named == {"__package__": ["_logs"]}


def test_records_carry_their_facts(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
) -> None:
    """F18: what a machine wants to know is not in the text alone."""
    signals = record(Note, "a", "b", "c")
    key = (signals[1].id,)
    broker.refuse("b")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    facts = [
        {k: v for k, v in vars(r).items() if k.startswith("signalbus_")}
        for r in log.records
    ]
    assert {r.name for r in log.records} == {LOGGER}
    assert all(each["signalbus_model"] == "Note" for each in facts)
    sent = [each for each in facts if "signalbus_seconds" in each]
    assert [each["signalbus_count"] for each in sent] == [1, 1]
    (failed,) = [each for each in facts if "signalbus_key" in each]
    assert failed["signalbus_key"] == key
    assert failed["signalbus_error"] == "BrokerRefused"


def test_a_failing_pass_writes_lines_in_proportion_to_the_causes(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    log: pytest.LogCaptureFixture,
) -> None:
    """F18: not to the signals; each cause has one traceback."""

    def sender(text: str) -> None:
        if text.startswith("odd"):
            raise ValueError(text)

    for model in (Note, Parcel, Pair):
        record(
            model, *[f"{kind}{i}" for i in range(20) for kind in ("odd", "bad", "ok")]
        )
    log.set_level(logging.INFO, LOGGER)
    broker.meanwhile = sender
    broker.refused = lambda text: text.startswith("bad")

    with pytest.raises(ValueError, match="odd0"):
        bus.flushmany()

    noted = [r for r in log.records if r.levelno >= logging.WARNING]
    assert len(noted) <= 3 * 2 + 2
    assert [vars(r)["signalbus_error"] for r in noted if r.exc_info] == [
        "BrokerRefused"
    ]
    assert sorted(broker.sent) == sorted([f"ok{i}" for i in range(20)] * 3)


def test_a_flush_that_raises_tells_how_many_were_sent(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F22: in a note, which a traceback shows."""
    record(Note, *"abcde")
    broker.refuse("b")

    with pytest.raises(BrokerRefused) as caught:
        bus.flushmany()

    assert caught.value.__notes__ == [
        "Signals that this flush has sent all the same: 4."
    ]


def test_a_flush_that_is_interrupted_tells_how_many_were_sent(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F22, F17."""

    def interrupt(text: str) -> None:
        if text == "d":
            raise KeyboardInterrupt

    record(Note, *"abcde")
    broker.meanwhile = interrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        bus.flushmany()

    assert caught.value.__notes__ == [
        "Signals that this flush has sent all the same: 3."
    ]


def test_the_command_logs_how_many_were_sent_when_others_have_failed(
    app: Flask, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """F22, F18: and of the error what is known of it."""
    signals = record(Note, *"abcde")
    key = (signals[1].id,)
    db.session.rollback()
    broker.refuse("b")

    done = app.test_cli_runner().invoke(args=["signalbus", "flushmany"])

    caught = log.records[-1]
    assert (done.exit_code, done.stdout) == (1, "")
    assert "4 signals have been successfully processed." in log.messages
    assert caught.getMessage() == "Caught error while sending pending signals."
    assert vars(caught)["signalbus_model"] == "Note"
    assert vars(caught)["signalbus_key"] == key


@pytest.mark.parametrize("models", [["Note"], "Note", [Note, "Note"]])
def test_a_name_in_the_place_of_a_model_is_said_to_be_a_string(
    models: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F2: and how the model of that name is found; nothing is sent."""
    record(Note, "a")

    with pytest.raises(
        RuntimeError, match=r"'Note' is not .*, but a string.*get_models_to_flush"
    ):
        bus.flushmany(models)

    assert broker.calls == []
