"""A broker fake: it remembers what it accepted and refuses on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class BrokerRefused(Exception):
    """The broker fake was told to refuse this message.

    .. versionadded:: 1.0
    """


def _never(position: int) -> bool:
    return False


def _always(position: int) -> bool:
    return True


class RecordingBroker:
    """Stand in for a message broker, at the seam where the application publishes.

    :param error: Called with a text, returns the exception to refuse with. Pass the
        exception of the real client, if the application handles that one specially.
    :param key: What two messages are compared by, for messages that carry something
        which differs each time they are built, like an identifier or a time.

    >>> broker = RecordingBroker()
    >>> broker.accept("hello")
    >>> broker.accept_many(["how", "are", "you"])
    >>> broker.sent
    ['hello', 'how', 'are', 'you']

    .. versionadded:: 1.0
    """

    def __init__(
        self,
        *,
        error: Callable[[str], Exception] = BrokerRefused,
        key: Callable[[Any], object] | None = None,
    ) -> None:
        self.sent: list[Any] = []
        self._error = error
        self._key = key
        self._offered = 0
        self._refuses: Callable[[int], bool] = _never

    @property
    def offered(self) -> int:
        """How many messages have arrived since the broker was told what to refuse."""
        return self._offered

    def accept(self, *parts: Any, **named: Any) -> None:
        """Accept one message, or raise.

        A single positional argument is recorded as it is, any other call as the
        pair of its positional and its named arguments.
        """
        position = self._offered
        self._offered += 1
        if self._refuses(position):
            raise self._error(f"The broker refused message number {position}.")

        alone = len(parts) == 1 and not named
        self.sent.append(parts[0] if alone else (parts, named))

    def accept_many(self, messages: Iterable[Any]) -> None:
        """Accept messages one after another, up to the first that is refused."""
        for message in messages:
            self.accept(message)

    def refuse_everything(self) -> None:
        """Refuse every message from now on, as a broker that is down does."""
        self._change_mind(_always)

    def refuse_at(self, position: int) -> None:
        """Refuse one message; positions are counted from now on, from zero."""
        self._change_mind(position.__eq__)

    def accept_everything(self) -> None:
        """Accept every message from now on."""
        self._change_mind(_never)

    def comparable(self) -> list[object]:
        """Return what the accepted messages are compared by."""
        return [self._key(message) if self._key else message for message in self.sent]

    def forget(self) -> None:
        """Forget what was sent, and accept every message from now on."""
        self.sent.clear()
        self.accept_everything()

    def _change_mind(self, refuses: Callable[[int], bool]) -> None:
        self._offered = 0
        self._refuses = refuses
