"""Checks of the model's own send methods, with a broker fake behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._models import BULK_SENDER, SINGLE_SENDER, senders_of
from .._rules import Fault
from .definition import check
from .failures import Finding, expect
from .harness import Harness, Need
from .outside import listening

_FEW = 4
_BROKER: tuple[Need, ...] = ("broker",)
_COLUMNS_ONLY = "the object has columns only: no methods, no relationships"
_ANSWER_IS_NONE = "the send method reads None: is that the answer of the broker fake?"
_SEAM = (
    "the broker fake was not called at all: does it stand where the model publishes?"
)


@check(
    "sender",
    needs=_BROKER,
    why="the object is a row: it has neither the model's methods nor relationships",
)
def check_send_needs_columns_only(harness: Harness) -> None:
    """Check that the send methods read nothing but columns."""
    signals = harness.as_sent(_FEW)
    for sender in senders_of(harness.model):
        _messages(harness, signals, sender=sender)


@check("sender", needs=_BROKER, why="when it returns the row is deleted, sent or not")
def check_one_accepted_message_per_row(harness: Harness) -> None:
    """Check that the send methods hand one message per signal to the broker."""
    for sender in senders_of(harness.model):
        messages = _messages(harness, harness.as_sent(_FEW), sender=sender)
        expect(
            len(messages) == _FEW,
            found=f"the broker accepted {len(messages)} messages by '{sender}'",
            expected=f"{_FEW}, one for each signal",
            hint="" if messages else _SEAM,
        )


@check(
    "sender",
    needs=_BROKER,
    why="when it returns the row is deleted, so a swallowed error loses the message",
)
def check_single_send_propagates_broker_errors(harness: Harness) -> None:
    """Check that the single sender raises when the broker refuses the message."""
    signals = harness.as_sent(1)
    harness.broker.refuse_everything()
    _expect_error(harness, signals, sender=SINGLE_SENDER, refused="the message")


@check(
    "sender",
    needs=_BROKER,
    of_bulk_sender=True,
    why="when it returns all rows are deleted, so a swallowed error loses a message",
)
def check_batch_send_propagates_errors_at_each_position(harness: Harness) -> None:
    """Check that the bulk sender raises when the broker refuses a message."""
    signals = harness.as_sent(_FEW)
    for position in range(_FEW):
        harness.broker.refuse_at(position)
        refused = f"the message at position {position} of {_FEW}"
        _expect_error(harness, signals, sender=BULK_SENDER, refused=refused)


@check(
    "sender",
    needs=_BROKER,
    of_bulk_sender=True,
    why="which of the two is called depends on how many signals are pending",
)
def check_batch_equals_single(harness: Harness) -> None:
    """Check that the bulk sender sends the same messages as the single sender."""
    signals = harness.as_sent(_FEW)
    single = _messages(harness, signals, sender=SINGLE_SENDER)
    bulk = _messages(harness, signals, sender=BULK_SENDER)

    expect(
        _same(single, bulk),
        found=f"in bulk {bulk!r}",
        expected=f"as one by one {single!r}",
        hint="compare by a part of the message: RecordingBroker(key=…)",
    )


@check(
    "sender",
    needs=_BROKER,
    of_bulk_sender=True,
    why="an iterable is all that is promised, and it may be used up by one loop",
)
def check_batch_accepts_any_iterable(harness: Harness) -> None:
    """Check that the bulk sender takes a list, a tuple, a generator, or nothing."""
    signals = harness.as_sent(_FEW)
    forms: dict[str, tuple[int, Callable[[], Iterable[Any]]]] = {
        "a list": (_FEW, lambda: list(signals)),
        "a tuple": (_FEW, lambda: tuple(signals)),
        "a generator": (_FEW, lambda: (signal for signal in signals)),
        "an empty list": (0, list),
    }
    for form, (count, make) in forms.items():
        messages = _messages(harness, make(), sender=BULK_SENDER)
        expect(
            len(messages) == count,
            found=f"{len(messages)} messages for {form} of {count} signals",
            expected=f"{count}",
            hint="iterate over the signals once, or begin with list(signals)",
        )


@check(
    "sender",
    needs=_BROKER,
    why="the rows are deleted by this transaction; ending it releases their locks",
)
def check_send_does_not_end_the_flushing_transaction(harness: Harness) -> None:
    """Check that the send methods neither commit nor roll back the session."""
    signals = harness.as_sent(_FEW)
    for sender in senders_of(harness.model):
        with harness.app.app_context():
            session = harness.db.session()
            session.connection(bind_arguments={"mapper": harness.model})
            before = session.get_transaction()
            _send(harness, signals, sender=sender)
            after = harness.db.session().get_transaction()
            expect(
                after is before,
                found=f"'{sender}' has ended the transaction of db.session",
                expected="no commit(), rollback(), close() or remove() inside",
            )


@check(
    "sender",
    needs=_BROKER,
    is_advice=True,
    why="a send method that needs the database is slower, and fails when that changes",
)
def check_send_emits_no_sql(harness: Harness) -> None:
    """Check that the send methods execute no SQL."""
    signals = harness.as_sent(_FEW)
    statements: list[str] = []
    with listening(
        harness.table.engine,
        "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    ):
        for sender in senders_of(harness.model):
            _messages(harness, signals, sender=sender)

    expect(
        not statements,
        found=f"{len(statements)} SQL statements, the first of them {statements[:1]}",
        expected="everything the message needs is in the row",
    )


@check(
    "sender",
    needs=_BROKER,
    is_advice=True,
    why="with several flushers, and after a retry, signals arrive in any order",
)
def check_send_is_silent_about_order(harness: Harness) -> None:
    """Check that the send methods do not depend on the order of the signals."""
    signals = harness.as_sent(_FEW)
    for sender in senders_of(harness.model):
        forwards = _messages(harness, signals, sender=sender)
        backwards = _messages(harness, signals[::-1], sender=sender)
        expect(
            _same(forwards, backwards),
            found=f"'{sender}' sent {backwards!r} for the reverse order",
            expected=f"{forwards!r} in any order",
        )


def _send(harness: Harness, signals: Iterable[Any], *, sender: str) -> None:
    """Call a send method of the model itself, in an application context."""
    try:
        if sender == BULK_SENDER:
            harness.model.send_signalbus_messages(signals)
            return

        for signal in signals:
            harness.model.send_signalbus_message(signal)
    except Exception as exc:
        raise Finding(
            Fault(
                found=f"'{sender}' raised {exc!r}",
                expected="a method that sends, and returns",
                hint=_hint(harness, exc),
            )
        ) from exc


def _hint(harness: Harness, exc: Exception) -> str:
    if not isinstance(exc, AttributeError):
        return harness.rows.hint
    if exc.obj is None and exc.name is not None:
        return _ANSWER_IS_NONE

    return _COLUMNS_ONLY


def _messages(harness: Harness, signals: Iterable[Any], *, sender: str) -> list[object]:
    """Send signals, and return what the broker accepted."""
    harness.broker.forget()
    with harness.app.app_context():
        _send(harness, signals, sender=sender)
    return harness.broker.comparable()


def _expect_error(
    harness: Harness, signals: Iterable[Any], *, sender: str, refused: str
) -> None:
    """Expect an error of a send method, whatever error it is."""
    try:
        with harness.app.app_context():
            _send(harness, signals, sender=sender)
    except Finding:
        return

    raise Finding(
        Fault(
            found=f"{sender} returned though the broker refused {refused}",
            expected="an exception",
            hint="" if harness.broker.offered else _SEAM,
        )
    )


def _same(some: list[object], others: list[object]) -> bool:
    """Tell whether the messages are the same, apart from their order."""
    rest = list(others)
    for message in some:
        if message not in rest:
            return False

        rest.remove(message)
    return not rest
