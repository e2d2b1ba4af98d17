"""Calls of the model's own send methods, with a broker fake behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from .._lazy import has_not_run
from .._models import BULK_SENDER
from .._rules import Fault
from .._sessions import Record, owned_transaction
from .broker import impatient
from .definition import version_of
from .failures import Finding
from .harness import Harness
from .network import NetworkGuard, ReachedNetwork
from .recorder import RunawayFlush

#: A suite that is frozen at an earlier release gets no new failures.
_GUARDED_SINCE = (1, 1)

#: What is said of a send method that has not asked the fake.
NOT_CALLED = "the broker fake was not called"
SEAM = (
    f"{NOT_CALLED}: does it stand where the model publishes, and is it called before"
    f" the method returns? (as in a flush, the row is not in the table any more)"
)

#: What a send method may have to do with its earlier calls.
STATE = (
    "does it remember earlier calls? a flush that has failed sends a signal again, and"
    " a broker that has refused may be back; let a fixture reset what it remembers"
)

_STAYS = "what cannot be sent stays in the table, and is tried again by each flush"
_COLUMNS_ONLY = "the object has columns only: no methods, no relationships"
_ANSWER = "is that the answer of the broker fake? pass RecordingBroker(answer=…)"

#: How often a send method may be refused before it must have given up.
_REFUSALS = 1000


class _TakenBack(BaseException):
    """What a send method has written is not to be committed."""


@contextmanager
def as_in_a_burst(harness: Harness) -> Iterator[None]:
    """Own the transaction of the session, which atomic blocks join; roll it back."""
    session = harness.db.session
    with (
        harness.app.app_context(),
        suppress(_TakenBack),
        owned_transaction(session, Record()),
    ):
        yield
        raise _TakenBack


def guarded(harness: Harness, call: Callable[..., Any], *args: Any) -> Any:
    """Call a send method; let it reach nothing but the fake, and that not forever.

    :raises Finding: If it has tried to.
    """
    try:
        with impatient(harness.broker, _REFUSALS):
            return _guarded(harness, call, *args)
    except RunawayFlush as exc:
        raise Finding(
            Fault(
                found=f"a send method does not give up: {exc}",
                expected="an exception after a few attempts",
                hint="each flush tries again what is still pending",
            ),
            why="it holds up all other signals, and keeps their transaction open",
        ) from exc


def _guarded(harness: Harness, call: Callable[..., Any], *args: Any) -> Any:
    release = harness.release
    if release is not None and version_of(release) < _GUARDED_SINCE:
        return call(*args)

    guard = NetworkGuard(harness.broker.addresses)
    try:
        return guard.call(call, *args)
    except ReachedNetwork:
        pass
    finally:
        # It may have been another thread, or an error that somebody has handled.
        if guard.reached:
            raise _reached_network(guard.reached)


def _reached_network(addresses: list[str]) -> Finding:
    return Finding(
        Fault(
            found=f"a send method reached for the network: {addresses[0]}",
            expected="nothing but the broker fake is reached while it is checked",
            hint="put the fake, or fake.also(…), wherever the model publishes; if the"
            " fake is a server, pass RecordingBroker(addresses=[(host, port)])",
        ),
        why="a test must not send real messages",
    )


def send(harness: Harness, signals: Iterable[Any], *, sender: str) -> None:
    """Call a send method, see :func:`as_in_a_burst`.

    :raises Finding: If it raises an exception.
    """
    try:
        call(harness, signals, sender=sender)
    except (Finding, KeyboardInterrupt):
        raise
    except BaseException as exc:
        raise raised(harness, sender, exc) from exc


def call(harness: Harness, signals: Iterable[Any], *, sender: str) -> None:
    """Call a send method, and let its errors pass."""
    method = getattr(harness.model, sender)
    for argument in [signals] if sender == BULK_SENDER else signals:
        result = guarded(harness, method, argument)
        if has_not_run(result):
            # Or else Python complains, too.
            with suppress(AttributeError):
                result.close()
            raise _has_not_run(sender, result)


def _has_not_run(sender: str, result: object) -> Finding:
    return Finding(
        Fault(
            found=f"'{sender}' returned a {type(result).__name__}, which nobody runs",
            expected="a method that sends, and returns",
            hint="asyncio.run(…) runs a coroutine",
        ),
        why="its body never runs, so nothing is sent",
    )


def messages_of(
    harness: Harness, signals: Iterable[Any], *, sender: str
) -> list[object]:
    """Send signals, and return what the broker accepted."""
    harness.broker.forget()
    with as_in_a_burst(harness):
        send(harness, signals, sender=sender)
    return harness.broker.comparable()


def raised(harness: Harness, sender: str, exc: BaseException) -> Finding:
    """Return the finding that a send method has raised an error."""
    is_asked = harness.broker.offered > 0
    return Finding(
        Fault(
            found=f"'{sender}' raised {exc!r}",
            expected="a method that sends, and returns",
            hint=_hint(harness, exc, is_asked=is_asked),
        ),
        brief="" if is_asked else NOT_CALLED,
        why="" if _reads_more_than_columns(exc) else _STAYS,
    )


def _reads_more_than_columns(exc: BaseException) -> bool:
    return isinstance(exc, AttributeError) and isinstance(exc.obj, sa.Row)


def _hint(harness: Harness, exc: BaseException, *, is_asked: bool) -> str:
    if _reads_more_than_columns(exc):
        return f"{_COLUMNS_ONLY}; its columns: {', '.join(harness.table.attributes)}"
    if is_asked and isinstance(exc, AttributeError | TypeError):
        return f"it does not get on with an answer: {_ANSWER}"
    if is_asked:
        return harness.rows.hint
    if isinstance(exc, OSError):
        return SEAM

    return f"{harness.rows.hint}; or, if it came to publishing: {SEAM}"


def unconfirmed(harness: Harness) -> str:
    """Say that nobody has asked whether messages were accepted, if so."""
    count = harness.broker.unconfirmed
    return f"{count} messages were never confirmed" if count else ""
