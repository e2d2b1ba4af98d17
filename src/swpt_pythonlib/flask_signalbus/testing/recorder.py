"""Stand-ins for a model's send methods, which remember what the bus handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from .._models import BULK_SENDER, SINGLE_SENDER


class RunawayFlush(BaseException):
    """The flush has used up its budget; nothing on its way may handle that."""


@dataclass(frozen=True)
class Sent:
    """One call of a send method."""

    signals: list[Any]
    is_bulk: bool


#: What the broker says to a call: it returns, or it raises.
Answer = Callable[[Sent], None]


def accept(sent: Sent) -> None:
    """Accept whatever is sent."""


class Recorder:
    """Remembers the calls of the send methods that it stands in for.

    :param answer: Called with every call; when it raises, nothing was accepted.
    :param budget: How many calls are tolerated.
    """

    def __init__(self, answer: Answer = accept, *, budget: int = 1000) -> None:
        self.offered: list[Sent] = []
        self.accepted: list[Sent] = []
        self._answer = answer
        self._budget = budget

    @property
    def signals(self) -> list[Any]:
        """The signals that were accepted, in their order."""
        return [signal for sent in self.accepted for signal in sent.signals]

    def receive(self, sent: Sent) -> None:
        """Take a call of a send method."""
        self.offered.append(sent)
        if len(self.offered) > self._budget:
            raise RunawayFlush("too many calls of the send methods")

        self._answer(sent)
        self.accepted.append(sent)

    @contextmanager
    def replacing_senders(
        self, model: type[Any], *, bulk: bool, burst: int | None
    ) -> Iterator[Recorder]:
        """Stand in for the send methods of a model.

        :param bulk: Whether the model has a bulk sender meanwhile.
        :param burst: Its burst count meanwhile, ``None`` for its own.
        """

        def send_one(signal: Any) -> None:
            self.receive(Sent([signal], is_bulk=False))

        def send_many(signals: Iterable[Any]) -> None:
            self.receive(Sent(list(signals), is_bulk=True))

        stand_ins: dict[str, object] = {
            SINGLE_SENDER: staticmethod(send_one),
            BULK_SENDER: staticmethod(send_many) if bulk else Hidden(),
        }
        if burst is not None:
            stand_ins["signalbus_burst_count"] = burst
        with ExitStack() as stack:
            for name, stand_in in stand_ins.items():
                stack.enter_context(patch.object(model, name, stand_in, create=True))
            yield self


class Hidden:
    """Hides an attribute, even one that a class inherits."""

    def __get__(self, instance: object, owner: type) -> Any:
        """Pretend that there is no such attribute."""
        raise AttributeError("hidden while the model is being checked")
