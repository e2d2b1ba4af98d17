"""Checks of what the send methods make of a broker that refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .._models import BULK_SENDER, SINGLE_SENDER
from .._rules import Fault
from ..exceptions import SignalsRefused
from .broker import RecordingBroker
from .checks_senders import BROKER, FEW
from .comparing import is_among
from .definition import check
from .failures import Finding
from .harness import Harness
from .sending import SEAM, STATE, as_in_a_burst, call, messages_of


@check(
    "sender",
    needs=BROKER,
    why="when it returns the row is deleted, so a swallowed error loses the message",
)
def check_single_send_propagates_broker_errors(harness: Harness) -> None:
    """Check that the single sender raises when the broker refuses the message."""
    _expect_errors(harness, harness.as_sent(1), sender=SINGLE_SENDER)


@check(
    "sender",
    needs=BROKER,
    of_bulk_sender=True,
    why="when it returns all rows are deleted, so a swallowed error loses a message",
)
def check_batch_send_propagates_errors_at_each_position(harness: Harness) -> None:
    """Check that the bulk sender raises when the broker refuses a message."""
    _expect_errors(harness, harness.as_sent(FEW), sender=BULK_SENDER)


def _expect_errors(harness: Harness, signals: list[Any], *, sender: str) -> None:
    """Refuse each message, and all of them, in each way; expect an error each time."""
    messages_of(harness, signals, sender=sender)
    count = harness.broker.offered
    if not count:
        raise Finding(
            Fault(
                found=f"'{sender}' returned without asking the broker fake, so nobody"
                f" can tell what it does when it is refused",
                expected="a message for each signal",
                hint=SEAM,
            )
        )
    for what, refuse in _refusals(harness, count):
        refuse()
        _expect_error(harness, signals, sender=sender, refused=what, count=count)


def _refusals(
    harness: Harness, count: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    broker = harness.broker
    for way in range(broker.ways):
        all_of_them = "everything" if count > 1 else "the message"
        yield all_of_them, partial(broker.refuse_everything, way=way)
        for position in range(count if count > 1 else 0):
            yield (
                f"the message at position {position} of {count}",
                partial(broker.refuse_at, position, way=way),
            )


def _expect_error(
    harness: Harness, signals: list[Any], *, sender: str, refused: str, count: int
) -> None:
    """Expect that a send method raises because of what the broker refuses."""
    broker = harness.broker
    broker.sent.clear()
    error: BaseException | None = None
    try:
        with as_in_a_burst(harness):
            call(harness, signals, sender=sender)
    except (Finding, KeyboardInterrupt):
        raise
    except BaseException as exc:
        error = exc

    if not broker.refused:
        raise Finding(
            Fault(
                found=f"{sender} {_end_of(error)} before the broker fake could refuse"
                f" {refused}",
                expected="the same as with a broker that accepts, up to the refusal",
                hint=STATE,
            )
        )
    if error is None and len(broker.sent) < count:
        raise Finding(
            Fault(
                found=f"{sender} returned though the broker refused {refused}"
                f"{_by(broker)}",
                expected="an exception",
            )
        )
    if error is not None and not _has_come_of(error, broker.refused):
        # Was it the refusal, or would it be raised anyway?
        messages_of(harness, signals, sender=sender)


def _end_of(error: BaseException | None) -> str:
    return "returned" if error is None else f"raised {error!r}"


def _by(broker: RecordingBroker) -> str:
    """Say how the broker has refused, where it can do so in several ways."""
    if broker.ways == 1:
        return ""

    refusal = broker.refused[-1]
    verb = "raising" if isinstance(refusal, BaseException) else "returning"
    return f", by {verb} {refusal!r}"


def _has_come_of(error: BaseException, refusals: list[Any]) -> bool:
    """Tell whether an error is one of the broker's, or was made of one."""
    if isinstance(error, SignalsRefused) or is_among(error, refusals):
        return True

    inner: list[BaseException | None] = [error.__cause__, error.__context__]
    inner += getattr(error, "exceptions", ())
    return any(each is not None and _has_come_of(each, refusals) for each in inner)
