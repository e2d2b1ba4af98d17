"""Errors that are no exceptions: a client that was cancelled, and a flush that is."""

import asyncio
from typing import Any

import greenlet
import pytest
from sqlalchemy import select

from support.broker import Broker
from support.models import Note, Pair, Parcel, Tag, db
from support.races import Stop
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus

TEXTS = "abcdefg"


class Timeout(BaseException):
    """As gevent's own, which is also an object that the client compares."""

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds

    def __bool__(self) -> bool:
        return False


EXITS = [KeyboardInterrupt, SystemExit, GeneratorExit, greenlet.GreenletExit]


@pytest.fixture
def cancels(broker: Broker) -> Any:
    """Return what has the sender of a text be cancelled."""

    def cancels(bad: str, error: type[BaseException]) -> None:
        def meanwhile(text: str) -> None:
            if text == bad:
                raise error

        broker.meanwhile = meanwhile

    return cancels


@pytest.mark.parametrize("error", [asyncio.CancelledError, Timeout, Stop])
@pytest.mark.parametrize("model", [Note, Parcel])
@pytest.mark.parametrize("position", [0, 1, 2, 6])
def test_a_sender_that_is_cancelled_does_not_hold_up_the_others(
    position: int,
    model: Any,
    error: type[BaseException],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    cancels: Any,
) -> None:
    """F17, F9: the caller gets it when all the others have been sent."""
    record(model, *TEXTS)
    record(Pair, "other")
    bad = TEXTS[position]
    cancels(bad, error)

    with pytest.raises(error):
        bus.flushmany()

    assert set(broker.sent) == set(TEXTS) - {bad} | {"other"}
    assert pending(model) == [bad]


def test_what_was_sent_before_a_cancelled_one_is_not_sent_again(
    bus: SignalBus, broker: Broker, record: Record, cancels: Any
) -> None:
    """F17, F9."""
    record(Note, *TEXTS)
    cancels("c", asyncio.CancelledError)

    with pytest.raises(asyncio.CancelledError):
        bus.flushmany()

    assert broker.sent == ["a", "b", "d", "e", "f", "g"]


def test_what_a_cancelled_sender_has_written_is_rolled_back(
    bus: SignalBus, broker: Broker, record: Record, cancels: Any
) -> None:
    """F17, F6: and the session can be used."""
    record(Note, "a")

    def meanwhile(text: str) -> None:
        db.session.add(Tag(name=text))
        db.session.flush()
        raise Timeout

    broker.meanwhile = meanwhile

    with pytest.raises(Timeout):
        bus.flushmany()

    assert not db.session().in_transaction()
    assert db.session.scalars(select(Tag.name)).all() == []


def test_a_broker_that_cancels_everything_is_given_up(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F17, F9."""
    texts = [f"{i:03}" for i in range(100)]
    record(Note, *texts)

    def meanwhile(text: str) -> None:
        raise Timeout

    broker.meanwhile = meanwhile

    with pytest.raises(Timeout):
        bus.flushmany()

    assert len(broker.calls) <= 12
    assert pending(Note) == texts


@pytest.mark.parametrize("error", EXITS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("model", [Note, Parcel])
def test_who_wants_the_flush_to_end_ends_it_at_once(
    model: Any,
    error: type[BaseException],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    cancels: Any,
) -> None:
    """F17: the burst is rolled back, and nothing more is sent."""
    record(model, *TEXTS)
    record(Pair, "before, by the name of its model" if model is Parcel else "behind")
    cancels("e", error)

    with pytest.raises(error):
        bus.flushmany()

    assert [call for call in broker.calls if "f" in call or "g" in call] in (
        [],
        [["d", "e", "f"]],
    )
    assert pending(model) == ["d", "e", "f", "g"]
    assert not db.session().in_transaction()


@pytest.mark.parametrize("error", EXITS, ids=lambda error: error.__name__)
def test_a_flush_that_was_ended_goes_on_with_the_next(
    error: type[BaseException],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    cancels: Any,
) -> None:
    """F17: no lock is left."""
    record(Note, *TEXTS)
    cancels("e", error)
    with pytest.raises(error):
        bus.flushmany()

    broker.meanwhile = lambda text: None

    assert bus.flushmany() == 4
