"""Checks of what the model's own send methods make of healthy signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._models import BULK_SENDER, SINGLE_SENDER, senders_of
from .comparing import difference, repeated, same_messages, shortened
from .definition import check
from .failures import expect
from .harness import Harness
from .sending import (
    NOT_CALLED,
    SEAM,
    as_in_a_burst,
    messages_of,
    send,
    unconfirmed,
)
from .subject import Need

#: How many signals a send method gets; not a multiple of the size of any batch.
FEW = 5
BROKER: tuple[Need, ...] = ("broker",)


@check(
    "sender",
    needs=BROKER,
    why="the object is a row: it has neither the model's methods nor relationships",
)
def check_send_needs_columns_only(harness: Harness) -> None:
    """Check that the send methods read nothing but columns."""
    signals = harness.as_sent(FEW)
    for sender in senders_of(harness.model):
        messages_of(harness, signals, sender=sender)


@check("sender", needs=BROKER, why="when it returns the row is deleted, sent or not")
def check_one_accepted_message_per_row(harness: Harness) -> None:
    """Check that each signal makes a message, or several that differ."""
    signals = harness.as_sent(FEW)
    for signal in signals:
        messages = messages_of(harness, [signal], sender=SINGLE_SENDER)
        _expect_messages(harness, messages, 1, sender=SINGLE_SENDER)
        twice = repeated(messages)
        expect(
            not twice,
            found=f"'{SINGLE_SENDER}' sent {shortened(twice[:1])} twice for one signal",
            expected="each message of a signal once",
        )
    if BULK_SENDER in senders_of(harness.model):
        messages = messages_of(harness, signals, sender=BULK_SENDER)
        _expect_messages(harness, messages, FEW, sender=BULK_SENDER)


def _expect_messages(
    harness: Harness, messages: list[object], count: int, *, sender: str
) -> None:
    brief, hint = _trouble_with_the_fake(harness)
    if messages and not brief:
        hint = (
            "is the last batch sent, too? does one message carry several signals? let"
            " the fake take them apart"
        )
    expect(
        len(messages) >= count,
        found=f"the broker accepted {len(messages)} messages by '{sender}'",
        expected=f"{count}, one for each signal",
        hint=hint,
        brief=brief,
    )


def _trouble_with_the_fake(harness: Harness) -> tuple[str, str]:
    """Return what other checks would only find once more, and what to do about it."""
    if not harness.broker.offered:
        return NOT_CALLED, SEAM
    if brief := unconfirmed(harness):
        return brief, f"{brief}: ask the client before the send method returns"

    return "", ""


@check(
    "sender",
    needs=BROKER,
    of_bulk_sender=True,
    after=(check_send_needs_columns_only,),
    why="which of the two is called depends on how many signals are pending",
)
def check_batch_equals_single(harness: Harness) -> None:
    """Check that the bulk sender sends the same messages as the single sender."""
    signals = harness.as_sent(FEW)
    single = messages_of(harness, signals, sender=SINGLE_SENDER)
    bulk = messages_of(harness, signals, sender=BULK_SENDER)

    expect(
        same_messages(single, bulk),
        found=f"in bulk, of {len(bulk)} messages: {difference(bulk, single)}",
        expected=f"the same {len(single)} as one by one",
        hint="compare by a part of the message: RecordingBroker(key=…)",
    )


@check(
    "sender",
    needs=BROKER,
    of_bulk_sender=True,
    why="an iterable is all that is promised, and it may be used up by one loop",
)
def check_batch_accepts_any_iterable(harness: Harness) -> None:
    """Check that the bulk sender takes a list, a tuple, or a generator."""
    signals = harness.as_sent(FEW)
    count = len(messages_of(harness, list(signals), sender=BULK_SENDER))
    forms: dict[str, Callable[[], Iterable[Any]]] = {
        "tuple": lambda: tuple(signals),
        "generator": lambda: (signal for signal in signals),
    }
    for form, make in forms.items():
        messages = messages_of(harness, make(), sender=BULK_SENDER)
        expect(
            len(messages) == count,
            found=f"{len(messages)} messages for a {form} of {FEW} signals",
            expected=f"{count}, as for a list of them",
            hint="iterate over the signals once, or begin with list(signals)",
        )


@check(
    "sender",
    needs=BROKER,
    why="the rows are deleted by this transaction; ending it releases their locks",
)
def check_send_does_not_end_the_flushing_transaction(harness: Harness) -> None:
    """Check that the send methods neither commit nor roll back the session."""
    signals = harness.as_sent(FEW)
    for sender in senders_of(harness.model):
        with as_in_a_burst(harness):
            session = harness.db.session()
            session.connection(bind_arguments={"mapper": harness.model})
            before = session.get_transaction()
            send(harness, signals, sender=sender)
            after = harness.db.session().get_transaction()
            expect(
                after is before,
                found=f"'{sender}' has ended the transaction of db.session",
                expected="no commit(), rollback(), close() or remove() inside",
            )
