"""A broker fake: it remembers what it accepted and refuses on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .comparing import is_among
from .recorder import RunawayFlush

#: Makes the exception to refuse with.
ErrorFactory = Callable[[str], BaseException]

_NOT_GIVEN: Any = object()


class BrokerRefused(Exception):
    """The broker fake was told to refuse this message.

    .. versionadded:: 1.0
    """


@dataclass
class _Log:
    """What fakes of one family share: the messages, and what to refuse."""

    sent: list[Any] = field(default_factory=list)
    queued: list[Confirmation] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    offered: int = 0
    refuses: Callable[[int, Any], bool] = lambda position, message: False
    way: int = 0
    patience: float = math.inf
    family: list[RecordingBroker] = field(default_factory=list)


class RecordingBroker:
    """Stand in for a message broker, at the seam where the application publishes.

    :param error: Called with a text, returns the exception to refuse with. Pass the
        exception of the real client, if the application handles that one specially;
        pass several of them to have each tried by the checks.
    :param refusal: What is returned to refuse a message, for clients that do not raise,
        like a response with the status 503. With ``error`` too, both are tried.
    :param answer: What is returned for an accepted message.
    :param key: What two messages are compared by, for messages that carry something
        which differs each time they are built, like an identifier or a time.
    :param addresses: Pairs of host and port that a send method may connect to while it
        is checked, where the fake is a server; see :ref:`testing-network`.

    >>> broker = RecordingBroker(answer="ok")
    >>> broker.accept("hello")
    'ok'
    >>> broker.accept_many(["how", "are", "you"])
    ['ok', 'ok', 'ok']
    >>> broker.sent
    ['hello', 'how', 'are', 'you']

    .. versionadded:: 1.0
    .. versionchanged:: 1.1
        Added ``refusal``, ``answer`` and ``addresses``; ``error`` may be several.
    """

    def __init__(
        self,
        *,
        error: Callable[[str], BaseException]
        | Sequence[Callable[[str], BaseException]]
        | None = None,
        refusal: object = _NOT_GIVEN,
        answer: object = None,
        key: Callable[[Any], object] | None = None,
        addresses: Collection[tuple[str, int]] = (),
    ) -> None:
        if error is None:
            error = () if refusal is not _NOT_GIVEN else BrokerRefused
        self._errors = (error,) if callable(error) else tuple(error)
        self._refusal = refusal
        self._answer = answer
        self._key = key
        self.addresses = addresses
        self._log = _Log(family=[self])

    def also(self, **options: Any) -> RecordingBroker:
        """Return a fake for another publisher of the application.

        The two are one broker: they share what was sent and what is to be refused,
        but each answers and refuses in its own way.

        :param options: What the class takes, except ``key``.

        .. versionadded:: 1.1
        """
        other = RecordingBroker(**options)
        other._log, other._key = self._log, self._key
        self._log.family.append(other)
        return other

    @property
    def sent(self) -> list[Any]:
        """The messages that were accepted, in their order."""
        return self._log.sent

    @property
    def offered(self) -> int:
        """How many messages have arrived since the broker was told what to refuse."""
        return self._log.offered

    @property
    def refused(self) -> list[Any]:
        """What it has refused with since then: exceptions, and values.

        .. versionadded:: 1.1
        """
        return self._log.refused

    @property
    def unconfirmed(self) -> int:
        """How many messages were queued whose fate nobody has asked for.

        .. versionadded:: 1.1
        """
        return len(self._log.queued)

    @property
    def ways(self) -> int:
        """In how many ways it can refuse: each of the errors, and the value.

        .. versionadded:: 1.1
        """
        return max(len(fake._ways) for fake in self._log.family)

    def accept(self, *parts: Any, **named: Any) -> Any:
        """Accept one message and return the answer, or refuse it.

        A single positional argument is recorded as it is, any other call as the
        pair of its positional and its named arguments.
        """
        return self.queue(*parts, **named).result()

    def accept_many(self, messages: Iterable[Any]) -> list[Any]:
        """Accept messages one after another, up to the first that raises."""
        return [self.accept(message) for message in messages]

    def queue(self, *parts: Any, **named: Any) -> Confirmation:
        """Take a message as clients do that confirm it later.

        It counts as sent when somebody has asked whether it was accepted.

        .. versionadded:: 1.1
        """
        log = self._log
        alone = len(parts) == 1 and not named
        message = _as_is_now(parts[0]) if alone else (parts, named)
        position = log.offered
        log.offered += 1
        refusal = self._refuse(position) if log.refuses(position, message) else None
        confirmation = Confirmation(self, message, refusal)
        log.queued.append(confirmation)
        return confirmation

    def confirm(self) -> list[Any]:
        """Settle all that is queued; return the answers, or raise the first error.

        .. versionadded:: 1.1
        """
        queued = list(self._log.queued)
        for confirmation in queued:
            confirmation.exception()
        return [confirmation.result() for confirmation in queued]

    def refuse_everything(self, *, way: int = 0) -> None:
        """Refuse every message from now on, as a broker that is down does.

        :param way: Which of the ways to refuse.
        """
        self._change_mind(lambda position, message: True, way)

    def refuse_at(self, position: int, *, way: int = 0) -> None:
        """Refuse one message; positions are counted from now on, from zero."""
        self._change_mind(lambda offered, message: offered == position, way)

    def refuse_if(self, condition: Callable[[Any], bool], *, way: int = 0) -> None:
        """Refuse the messages for which the condition is true.

        .. versionadded:: 1.1
        """
        self._change_mind(lambda position, message: condition(message), way)

    def accept_everything(self) -> None:
        """Accept every message from now on."""
        self._change_mind(lambda position, message: False, 0)

    def comparable(self) -> list[object]:
        """Return what the accepted messages are compared by."""
        return [self._key(message) if self._key else message for message in self.sent]

    def forget(self) -> None:
        """Forget what was sent, and accept every message from now on."""
        self.sent.clear()
        self._log.queued.clear()
        self.accept_everything()

    @property
    def _ways(self) -> list[Callable[[str], Refusal]]:
        ways: list[Callable[[str], Refusal]] = [
            partial(_raised, error) for error in self._errors
        ]
        if self._refusal is not _NOT_GIVEN:
            ways.append(lambda text: Refusal(self._refusal, is_raised=False))
        return ways

    def _refuse(self, position: int) -> Refusal:
        if len(self.refused) >= self._log.patience:
            raise RunawayFlush(f"it was refused {len(self.refused)} times")

        ways = self._ways
        way = ways[min(self._log.way, len(ways) - 1)]
        refusal = way(f"The broker refused message number {position}.")
        self.refused.append(refusal.by)
        return refusal

    def _change_mind(self, refuses: Callable[[int, Any], bool], way: int) -> None:
        log = self._log
        log.offered, log.refuses, log.way = 0, refuses, way
        log.refused.clear()


@contextmanager
def impatient(broker: RecordingBroker, refusals: int) -> Iterator[None]:
    """Let a fake put an end to what it has refused so often."""
    broker._log.patience = refusals
    try:
        yield
    finally:
        broker._log.patience = math.inf


def _as_is_now(message: Any) -> Any:
    """Return a copy of a message that its sender may go on to fill in anew."""
    return copy(message) if type(message) in (dict, list, bytearray) else message


def _raised(error: ErrorFactory, text: str) -> Refusal:
    return Refusal(error(text), is_raised=True)


@dataclass(frozen=True)
class Refusal:
    """How a message was refused.

    :param by: An exception, or a value.
    :param is_raised: Whether it is raised.
    """

    by: Any
    is_raised: bool


class Confirmation:
    """Tells whether a queued message was accepted, like a future does.

    .. versionadded:: 1.1
    """

    def __init__(
        self, broker: RecordingBroker, message: Any, refusal: Refusal | None
    ) -> None:
        self._broker = broker
        self._message = message
        self._refusal = refusal

    def result(self, timeout: float | None = None) -> Any:
        """Return the answer, or raise what the broker refused the message with."""
        self._settle()
        if self._refusal is None:
            return self._broker._answer
        if self._refusal.is_raised:
            raise self._refusal.by

        return self._refusal.by

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the broker refused the message with, if it did."""
        self._settle()
        is_raised = self._refusal is not None and self._refusal.is_raised
        return self._refusal.by if self._refusal and is_raised else None

    def _settle(self) -> None:
        log = self._broker._log
        if not is_among(self, log.queued):
            return

        log.queued.remove(self)
        if self._refusal is None:
            log.sent.append(self._message)
