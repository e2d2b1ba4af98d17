"""Checks that flush the model's table with its own send methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..exceptions import SignalsRefused
from .checks_refusals import (
    check_batch_send_propagates_errors_at_each_position,
    check_single_send_propagates_broker_errors,
)
from .checks_senders import (
    BROKER,
    check_one_accepted_message_per_row,
    check_send_does_not_end_the_flushing_transaction,
)
from .comparing import is_among, repeated, shortened
from .definition import check
from .failures import expect
from .harness import BURST, Harness
from .outside import Key
from .real_flush import Call, Enough, RealFlush
from .sending import unconfirmed
from .writes import Writes

#: A burst, and a signal that is sent alone.
_SOME = BURST + 1


@check(
    "sender",
    needs=BROKER,
    since="1.1",
    after=(
        check_one_accepted_message_per_row,
        check_send_does_not_end_the_flushing_transaction,
    ),
    why="in a flush the row is deleted and locked, and bursts are of any size",
)
def check_real_flush_sends_and_deletes(harness: Harness) -> None:
    """Check that the send methods work in a flush: all is sent, and deleted."""
    with Writes(harness).undone():
        _flush_all(harness)


def _flush_all(harness: Harness) -> RealFlush:
    """Flush rows with a healthy broker, and expect that all is well."""
    keys = harness.record(_SOME)
    harness.broker.forget()
    flush = RealFlush(harness).run()
    flush.expect_success()
    expect(
        flush.count == _SOME,
        found=f"a real flush returned {flush.count}",
        expected=f"{_SOME}, the number of signals",
    )
    for call in flush.calls:
        expect(
            len(call.messages) >= len(call.signals),
            found=f"in a flush, '{call.sender}' sent {len(call.messages)} messages",
            expected=f"at least one for each of {len(call.signals)} signals",
            hint=unconfirmed(harness),
        )
    left = _left(harness, keys)
    expect(
        not left,
        found=f"{len(left)} rows are still there after a real flush: {left}",
        expected="none of those that were sent",
    )
    return flush


@check(
    "sender",
    needs=BROKER,
    since="1.1",
    after=(
        check_single_send_propagates_broker_errors,
        check_batch_send_propagates_errors_at_each_position,
        check_real_flush_sends_and_deletes,
    ),
    why="what is not reported as refused is deleted, and lost",
)
def check_real_flush_keeps_what_is_refused(harness: Harness) -> None:
    """Check that what the broker refuses in a flush stays, and nothing else does."""
    with Writes(harness).undone():
        healthy = _flush_all(harness)
        for way in range(harness.broker.ways):
            for position in range(_SOME):
                _refuse_one(harness, position, way, healthy)
            _refuse_all(harness, way)


def _refuse_one(harness: Harness, position: int, way: int, healthy: RealFlush) -> None:
    keys = harness.record(_SOME)
    broker = harness.broker
    broker.forget()

    def refuse(call: Call) -> None:
        theirs = list(map(harness.key_of, call.signals))
        if keys[position] not in theirs:
            broker.accept_everything()
        elif call.is_bulk:
            share = sum(len(each.messages) for each in healthy.calls) // _SOME
            broker.refuse_at(theirs.index(keys[position]) * share, way=way)
        else:
            broker.refuse_everything(way=way)

    flush = RealFlush(harness, before=refuse, may_fail=True).run()
    broker.accept_everything()
    _expect_own_signals(flush)
    where = (
        f"when a message of the signal at position {position} of {_SOME} was refused"
    )
    held_up = [key for key in _left(harness, keys) if key != keys[position]]
    expect(
        not held_up,
        found=f"{len(held_up)} other rows stay {where}: {held_up}",
        expected="only the refused signal stays",
        hint=f"the flush raised {flush.error!r}",
    )
    RealFlush(harness, may_fail=True).run()
    _expect_nothing_lost(harness, flush, healthy, where=where)


def _expect_own_signals(flush: RealFlush) -> None:
    """Expect that what a bulk sender names as refused is what it was given."""
    for call in flush.calls:
        if call.is_bulk and isinstance(call.error, SignalsRefused):
            strangers = [
                each for each in call.error.refused if not is_among(each, call.signals)
            ]
            expect(
                not strangers,
                found=f"'SignalsRefused' names {shortened(strangers[:1])}, which the"
                f" method has not received",
                expected="the very objects that were refused",
                hint="no copies, keys, or instances of the model; as it is, all"
                " signals of the burst are sent again",
            )


def _left(harness: Harness, keys: Sequence[Key]) -> list[Key]:
    now = harness.table.keys()
    return [key for key in keys if key in now]


def _expect_nothing_lost(
    harness: Harness, flush: RealFlush, healthy: RealFlush, *, where: str
) -> None:
    """Expect as many different messages as a healthy flush has sent."""
    # A signal that was retried may have been sent twice, but not lost.
    wanted = [message for call in healthy.calls for message in call.messages]
    sent = harness.broker.comparable()
    count = len(sent) - len(repeated(sent))
    named = any(isinstance(call.error, SignalsRefused) for call in flush.calls)
    expect(
        not (named and repeated(wanted)),
        found="the messages of different signals are the same, so nobody can tell"
        " whether 'SignalsRefused' names the right ones",
        expected="messages that can be told apart",
        hint="pass rows= that differ, or RecordingBroker(key=…)",
    )
    lost = len(wanted) - len(repeated(wanted)) - count
    expect(
        lost <= 0,
        found=f"{lost} of the messages were never accepted {where}, yet their rows are"
        f" deleted",
        expected="whatever is refused stays in the table",
        hint="does SignalsRefused name all that were refused?" if named else "",
    )


def _refuse_all(harness: Harness, way: int) -> None:
    keys = harness.record(_SOME)
    broker = harness.broker
    broker.forget()
    broker.refuse_everything(way=way)
    flush = RealFlush(harness, may_fail=True).run()
    broker.accept_everything()

    _expect_own_signals(flush)
    left = _left(harness, keys)
    expect(
        left == list(keys) and flush.error is not None,
        found=f"a real flush deleted {len(keys) - len(left)} of {len(keys)} rows when"
        f" everything was refused, and raised {flush.error!r}",
        expected="all rows stay, and the error is raised",
    )
    _flush_rest(harness, keys)


def _flush_rest(harness: Harness, keys: Sequence[Key]) -> None:
    """Expect that a flush with a healthy broker sends what has stayed."""
    RealFlush(harness).run().expect_success()
    left = _left(harness, keys)
    expect(
        not left,
        found=f"{len(left)} rows are not sent when the broker is back: {left}",
        expected="every row is sent sooner or later",
    )


@check(
    "sender",
    needs=BROKER,
    since="1.1",
    after=(check_real_flush_sends_and_deletes,),
    why="what is committed on its own says that something was sent that will be again",
)
def check_real_flush_takes_back_writes(harness: Harness) -> None:
    """Check that what a send method writes is gone if the flush does not commit."""

    def interrupt(call: Call) -> None:
        raise Enough

    def refuse(call: Call) -> None:
        harness.broker.refuse_everything()

    with Writes(harness).undone() as writes:
        _flush_all(harness)
        _expect_no_writes(harness, writes, "an interrupt", after=interrupt)
        _expect_no_writes(harness, writes, "a refusal", before=refuse)


def _expect_no_writes(
    harness: Harness, writes: Writes, what: str, **hooks: Callable[[Call], None]
) -> None:
    writes.note_as_is()
    keys = harness.record(_SOME)
    harness.broker.forget()
    RealFlush(harness, may_fail=True, **hooks).run()
    harness.broker.accept_everything()
    changes = writes.difference()
    expect(
        not changes,
        found=f"a write of the send method has outlived {what}, {changes}",
        expected="tables as they were, since the signals are pending",
        hint="write through db.session, and let the flush commit",
    )
    _flush_rest(harness, keys)
