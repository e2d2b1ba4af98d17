"""What a failure does to the other signals, and to the other models."""

from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError

from support.broker import Broker, BrokerRefused
from support.models import Note, Pair, Parcel, Receipt, Tag, db
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus

BURSTS = (1, 3, 10, 100)


def flush_often(bus: SignalBus, model: Any, times: int = 12) -> None:
    """Flush as a worker does: whatever happens, again a little later."""
    for _ in range(times):
        try:
            bus.flushmany([model])
        except BrokerRefused:
            continue


def texts(count: int) -> list[str]:
    return [f"{i:04}" for i in range(count)]


@pytest.mark.parametrize("model", [Note, Parcel, Pair])
@pytest.mark.parametrize("position", range(7))
def test_one_bad_signal_stays_and_all_others_leave(
    model: Any,
    position: int,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
) -> None:
    """F9: wherever in a burst it stands, in one pass."""
    record(model, *"abcdefg")
    bad = "abcdefg"[position]
    broker.refuse(bad)

    with pytest.raises(BrokerRefused, match=bad):
        bus.flushmany()

    assert pending(model) == [bad]
    assert set(broker.sent) == set("abcdefg") - {bad}


def test_a_failed_burst_is_tried_again_one_by_one_in_key_order(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F9: a bulk sender's error says nothing of what it has sent; at least once."""
    record(Parcel, *"abcd")
    broker.refuse("b")

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert broker.calls == [["a", "b", "c"], ["a"], ["b"], ["c"], ["d"]]


def test_what_the_senders_of_a_failed_burst_wrote_is_rolled_back_with_it(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F9, F6: and written once, by the attempt that succeeds."""
    record(Note, *"abc")
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))
    broker.refuse("b")

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert sorted(db.session.scalars(select(Tag.name))) == ["a", "c"]


@pytest.mark.parametrize("burst", BURSTS)
@pytest.mark.parametrize("bad", [1, 5, 12, 40])
def test_bad_signals_at_the_head_do_not_stop_those_after_them(
    burst: int,
    bad: int,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: even if they are many in a row."""
    monkeypatch.setattr(Parcel, "signalbus_burst_count", burst)
    all_texts = texts(bad + 30)
    record(Parcel, *all_texts)
    broker.refuse(*all_texts[:bad])

    flush_often(bus, Parcel)

    assert pending(Parcel) == all_texts[:bad]


def test_a_good_signal_among_bad_ones_leaves_sooner_or_later(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: even when neither its neighbours nor the last one are good."""
    monkeypatch.setattr(Parcel, "signalbus_burst_count", 1)
    record(Parcel, *texts(25))
    broker.refused = lambda text: text != "0012"

    flush_often(bus, Parcel, times=100)

    assert broker.sent == ["0012"]


@pytest.mark.parametrize("model", [Note, Parcel])
@pytest.mark.parametrize("burst", BURSTS)
def test_a_pass_gives_up_when_the_broker_is_down(
    model: Any,
    burst: int,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: after about ten attempts, and not a million."""
    monkeypatch.setattr(model, "signalbus_burst_count", burst)
    record(model, *texts(300))
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert 5 <= len(broker.calls) <= 12
    assert len(pending(model)) == 300


def test_a_broker_that_goes_down_midway_is_noticed(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9."""
    record(Parcel, *texts(300))
    broker.refused = lambda text: len(broker.sent) >= 150

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert len(broker.calls) <= 50 + 12
    assert pending(Parcel) == texts(300)[150:]


def test_the_other_models_are_flushed_nevertheless(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9: the first error is raised at the end of the call."""
    record(Note, "bad")
    record(Parcel, "good")
    record(Pair, "worse")
    broker.refuse("bad", "worse")

    with pytest.raises(BrokerRefused, match="bad"):
        bus.flushmany()

    assert broker.sent == ["good"]
    assert pending(Note) == ["bad"]
    assert pending(Pair) == ["worse"]


def test_bad_signals_are_logged_by_primary_key(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F9, F18: without a traceback, since the error is raised."""
    signals = record(Note, "a", "b", "c")
    keys = [(signal.id,) for signal in signals]
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert [r.getMessage() for r in caplog.records if not r.exc_info] == [
        "Failed to send 3 signals of Note at once.",
        f"Failed to send the signal of Note with primary key {keys[0]}.",
        f"Further failures of the same cause (BrokerRefused): 2, of Note with primary"
        f" keys {keys[1]}, {keys[2]}.",
    ]


def test_the_error_of_a_bulk_sender_is_raised_even_if_each_alone_can_be_sent(
    bus: SignalBus,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F8, F9: somebody should know that it is broken."""
    error = TypeError("It has never worked.")
    monkeypatch.setattr(Parcel, "send_signalbus_messages", Mock(side_effect=error))
    record(Parcel, *"abc")

    with pytest.raises(TypeError) as caught:
        bus.flushmany()

    assert caught.value is error
    assert pending(Parcel) == []


def test_a_signal_that_can_not_be_deleted_does_not_stop_the_others(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F3, F9: it is not sent either."""
    signals = record(Parcel, *"abcde")
    db.session.add(Receipt(parcel_id=signals[1].id))
    db.session.commit()

    with pytest.raises(IntegrityError):
        bus.flushmany()

    assert pending(Parcel) == ["b"]
    assert sorted(broker.sent) == ["a", "c", "d", "e"]


def test_a_table_that_is_not_there_is_an_error_of_its_model_alone(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F9."""
    record(Parcel, "a")
    table: Any = Pair.__table__
    table.drop(db.engine)

    try:
        with pytest.raises(DBAPIError, match="pair"):
            bus.flushmany()
    finally:
        table.create(db.engine)

    assert broker.sent == ["a"]
