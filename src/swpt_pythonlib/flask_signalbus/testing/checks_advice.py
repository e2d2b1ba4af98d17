"""Checks of send methods that are mere advice."""

from __future__ import annotations

from typing import Any

from .._models import SINGLE_SENDER, senders_of
from .._rules import Fault
from .checks_senders import BROKER, FEW
from .comparing import difference, same_messages
from .definition import check
from .failures import Finding, expect
from .harness import Harness
from .outside import listening
from .sending import messages_of


@check(
    "sender",
    needs=BROKER,
    is_advice=True,
    why="a send method that needs the database is slower, and fails when that changes",
)
def check_send_emits_no_sql(harness: Harness) -> None:
    """Check that the send methods execute no SQL."""
    signals = harness.as_sent(FEW)
    statements: list[str] = []
    with listening(
        harness.table.engine,
        "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    ):
        for sender in senders_of(harness.model):
            messages_of(harness, signals, sender=sender)

    expect(
        not statements,
        found=f"{len(statements)} SQL statements, the first of them {statements[:1]}",
        expected="everything the message needs is in the row",
    )


@check(
    "sender",
    needs=BROKER,
    is_advice=True,
    why="with several flushers, and after a retry, signals arrive in any order",
)
def check_send_is_silent_about_order(harness: Harness) -> None:
    """Check that the send methods do not depend on the order of the signals."""
    signals = harness.as_sent(FEW)
    for sender in senders_of(harness.model):
        forwards = messages_of(harness, signals, sender=sender)
        backwards = messages_of(harness, signals[::-1], sender=sender)
        expect(
            same_messages(forwards, backwards),
            found=f"'{sender}', in reverse order: {difference(backwards, forwards)}",
            expected="the same messages in any order",
        )


@check(
    "sender",
    needs=BROKER,
    is_advice=True,
    since="1.1",
    why="a signal that cannot be sent stays in the table, and is tried again forever",
)
def check_send_copes_with_null(harness: Harness) -> None:
    """Check that the single sender sends rows with NULL in their nullable columns."""
    for signal in harness.with_nulls():
        names = [name for name in harness.rows.nullable if _is_null(signal, name)]
        _expect_message(harness, signal, ", ".join(names))


def _is_null(signal: Any, name: str) -> bool:
    return getattr(signal, name) is None


def _expect_message(harness: Harness, signal: Any, nulls: str) -> None:
    try:
        messages_of(harness, [signal], sender=SINGLE_SENDER)
    except Finding as finding:
        raise Finding(
            Fault(
                found=f"{finding.fault.found}, where NULL is in: {nulls}",
                expected="a message, since these columns are nullable",
                hint="declare them nullable=False, or say what None means",
            )
        ) from finding.__cause__
