"""Checks of what is left when sending, or deleting, fails."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .broker import BrokerRefused
from .checks_bus import expect_all_sent, expect_sent_once
from .definition import check
from .failures import expect
from .harness import BURST, ROWS, Harness
from .outside import Key, listening
from .recorder import Recorder, Sent

#: Where a failure may strike: at either end of a burst, in the second one, and in
#: the last one, which holds a single signal.
POSITIONS = (0, BURST - 1, BURST, ROWS - 1)


@check("bus", why="a refused signal must be neither lost nor in the way of the others")
def check_single_failure_at_each_position(harness: Harness) -> None:
    """Check that only the signal stays that the single sender cannot send."""
    for position in POSITIONS:
        _refuse_one(harness, position, bulk=False)
    _refuse_all(harness, bulk=False)


@check("bus", why="a refused signal must be neither lost nor in the way of the others")
def check_batch_failure_at_each_position(harness: Harness) -> None:
    """Check that only the signal stays that the bulk sender cannot send."""
    for position in POSITIONS:
        _refuse_one(harness, position, bulk=True)
    _refuse_all(harness, bulk=True)


def _refuse_one(harness: Harness, position: int, *, bulk: bool) -> None:
    keys = harness.record()
    refused = keys[position]
    errors: list[BaseException] = []

    def answer(sent: Sent) -> None:
        if refused in map(harness.key_of, sent.signals):
            errors.append(BrokerRefused(f"The signal at position {position}."))
            raise errors[-1]

    with harness.recorder(answer, bulk=bulk) as recorder:
        harness.flush_raises(errors)
    where = f"when the signal at position {position} of {ROWS} was refused"
    harness.expect_pending([refused], when=where)
    _expect_rest_is_sent(harness, recorder, keys)


def _refuse_all(harness: Harness, *, bulk: bool) -> None:
    keys = harness.record()
    errors: list[BaseException] = []

    def answer(sent: Sent) -> None:
        errors.append(BrokerRefused("Everything is refused."))
        raise errors[-1]

    with harness.recorder(answer, bulk=bulk) as recorder:
        harness.flush_raises(errors)
    harness.expect_pending(keys, when="when everything was refused")
    _expect_rest_is_sent(harness, recorder, keys)


def _expect_rest_is_sent(
    harness: Harness, earlier: Recorder, keys: Sequence[Key]
) -> None:
    """Expect that a flush with a healthy broker sends what the earlier one left."""
    with harness.recorder() as recorder:
        harness.flush()
    expect_all_sent(harness, earlier.signals + recorder.signals, keys)
    harness.expect_pending([], when="after a flush with a healthy broker")


@check("bus", why="a worker that is told to stop would lose what it was sending")
def check_interrupt_keeps_rows(harness: Harness) -> None:
    """Check that an interrupt is raised at once, and its burst stays pending."""
    for interrupt in (KeyboardInterrupt(), SystemExit(1), GeneratorExit()):
        _interrupt(harness, interrupt)


def _interrupt(harness: Harness, interrupt: BaseException) -> None:
    keys = harness.record()

    def answer(sent: Sent) -> None:
        raise interrupt

    with harness.recorder(answer) as recorder:
        harness.flush_raises([interrupt])
    expect(
        len(recorder.offered) == 1,
        found=f"{len(recorder.offered) - 1} more signals were sent after {interrupt!r}",
        expected="nothing is sent after an interrupt",
    )
    harness.expect_pending(keys, when=f"after {interrupt!r}")
    _expect_rest_is_sent(harness, recorder, keys)


class _Refusal(Exception):
    """The database refuses to delete."""


@check("bus", why="what cannot be deleted would be sent again and again")
def check_failed_delete_is_reported(harness: Harness) -> None:
    """Check that a refused deletion is raised, before anything was sent."""
    keys = harness.record()
    refusals: list[BaseException] = []

    def refuse(*args: object) -> None:
        statement = str(args[2])
        if re.search(r"\bDELETE\b", statement, re.IGNORECASE):
            refusals.append(_Refusal("The database refuses to delete."))
            raise refusals[-1]

    with harness.recorder() as recorder:
        with listening(harness.table.engine, "before_cursor_execute", refuse):
            harness.flush_raises(refusals)
        expect(
            not recorder.offered,
            found=f"{len(recorder.offered)} signals were sent before the refusal",
            expected="rows are deleted before they are sent",
        )
        harness.expect_pending(keys, when="after the deletion was refused")
        harness.flush()
    expect_sent_once(harness, recorder.signals, keys)
