"""The signals of Blinker by which an application can watch its flushes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from blinker import NamedSignal, Namespace

from ._errors import ends_the_call
from ._lazy import has_not_run

_namespace = Namespace()

burst_sent: NamedSignal = _namespace.signal(
    "burst-sent",
    doc="""Sent when the deletion of a burst has been committed.

    Keyword arguments: ``model`` (the class), ``count`` (how many signals the burst has
    sent), and ``seconds`` (from the claim to the end of the commit).

    .. versionadded:: 1.1
    """,
)

sending_failed: NamedSignal = _namespace.signal(
    "sending-failed",
    doc="""Sent when a burst, a signal that is tried alone, or a whole pass has failed.

    Keyword arguments: ``model``, ``error`` (the exception), ``count`` (how many signals
    it has concerned), and ``key``: the primary key as a tuple, or ``None`` if it was
    not one signal alone.

    .. versionadded:: 1.1
    """,
)

pass_ended: NamedSignal = _namespace.signal(
    "pass-ended",
    doc="""Sent at the end of the pass over a model, whatever has become of it.

    Keyword arguments: ``model``, ``sent`` and ``failed`` (how many signals were sent,
    and how many could not be), ``gave_up`` (whether the pass ended early, because
    nothing got through or the server was to blame), and ``seconds``.

    .. versionadded:: 1.1
    """,
)


# Whether a receiver is being called now.
_IS_TELLING: ContextVar[bool] = ContextVar("signalbus_is_telling", default=False)


def is_telling() -> bool:
    """Tell whether this is a receiver, in the middle of a flush."""
    return _IS_TELLING.get()


def failures_of_receivers(
    hook: NamedSignal, sender: object, **facts: Any
) -> Iterator[BaseException]:
    """Call all receivers; yield what they raise, instead of raising it.

    :raises BaseException: What is to end the flush.
    """
    for receiver in hook.receivers_for(sender):
        error = _failure_of(receiver, sender, facts)
        if error is not None:
            yield error


def _failure_of(
    receiver: Callable[..., Any], sender: object, facts: dict[str, Any]
) -> BaseException | None:
    token = _IS_TELLING.set(True)
    try:
        if has_not_run(receiver(sender, **facts)):
            raise TypeError(
                f"{receiver!r} is a generator or a coroutine, and has not run; it must"
                f" be a plain function."
            )
    except BaseException as error:
        # Clients cancel what they wait for by errors that are no exceptions.
        if ends_the_call(error):
            raise
        return error
    finally:
        _IS_TELLING.reset(token)

    return None
