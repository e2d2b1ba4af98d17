"""Errors of a sender that are no exceptions: of its client, or of who stops it."""

import asyncio
import sys
from types import ModuleType

import pytest

from support.broker import Broker
from support.models import Note, Parcel
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus


class Timeout(BaseException):
    """An error like gevent's, which is no exception on purpose."""


class GreenletExit(BaseException):
    """What ends a greenlet."""


def raise_at(broker: Broker, text: str, error: BaseException) -> None:
    def meanwhile(given: str) -> None:
        if given == text:
            raise error

    broker.meanwhile = meanwhile


def cancelled() -> BaseException:
    """Return what asyncio raises in a plain function whose future is cancelled."""

    async def publish() -> None:
        confirmation = asyncio.get_running_loop().create_future()
        confirmation.cancel()
        await confirmation

    try:
        asyncio.run(publish())
    except asyncio.CancelledError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("model", [Note, Parcel])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("make_error", [Timeout, cancelled])
def test_a_cancelled_client_is_a_failure_like_any_other(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    model: type[Note | Parcel],
    position: int,
    make_error: type[BaseException],
) -> None:
    """F17, F9: the other signals leave, and the caller gets the error at the end."""
    record(model, *"abcd")
    error, bad = make_error(), "abcd"[position]
    raise_at(broker, bad, error)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the very error
        bus.flushmany([model])

    assert caught.value is error
    assert pending(model) == [bad]
    assert set(broker.sent) == set("abcd") - {bad}


def test_other_models_are_flushed_after_a_cancelled_client(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F17, F9: as after any error."""
    record(Note, "a")
    record(Parcel, "b")
    raise_at(broker, "a", Timeout())

    with pytest.raises(Timeout):
        bus.flushmany([Note, Parcel])

    assert broker.sent == ["b"]
    assert pending(Note) == ["a"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), GreenletExit()]
)
def test_who_wants_to_end_the_flush_ends_it_at_once(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """F17: the burst is rolled back, and nothing else is sent."""
    greenlet = ModuleType("greenlet")
    greenlet.GreenletExit = GreenletExit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "greenlet", greenlet)
    record(Note, *"abcd")
    record(Parcel, "e")
    raise_at(broker, "b", error)

    with pytest.raises(type(error)) as caught:
        bus.flushmany([Note, Parcel])

    assert caught.value is error
    assert broker.sent == ["a"]
    assert pending(Note) == list("abcd")
    assert pending(Parcel) == ["e"]
