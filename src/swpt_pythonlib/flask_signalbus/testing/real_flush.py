"""A flush with the model's own send methods, each call of which is watched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from .._models import BULK_SENDER, senders_of
from .._rules import Fault
from .failures import Finding
from .harness import BURST, Harness
from .recorder import RunawayFlush
from .sending import STATE, guarded

#: Statements are the sender's own business here; they only have to end.
_STATEMENTS_PER_ROW = 1000

_CALLS = 1000

_LOCKED = (
    "in a flush, the row is deleted and locked by the transaction of db.session; who"
    " writes to it on another connection waits forever"
)


class Enough(GeneratorExit):
    """The flush has shown what it was run for; it ends as it does when it is killed."""


@dataclass
class Call:
    """A call of a send method.

    :param messages: What the broker fake accepted meanwhile.
    :param error: What the send method has raised.
    """

    sender: str
    signals: list[Any]
    messages: list[object] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def is_bulk(self) -> bool:
        """Whether the bulk sender was called."""
        return self.sender == BULK_SENDER


def _nothing(call: Call) -> None:
    pass


class RealFlush:
    """Flushes the model as in production, but for the broker.

    :param before: Called before each call of a send method.
    :param after: Called after each that has returned; what it raises ends the flush.
    :param may_fail: Whether send methods are expected to raise; else the flush ends
        with the first error, since each attempt may have waited for a lock.
    """

    def __init__(
        self,
        harness: Harness,
        *,
        before: Callable[[Call], None] = _nothing,
        after: Callable[[Call], None] = _nothing,
        may_fail: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.count: int = 0
        self.error: BaseException | None = None
        self._harness = harness
        self._before = before
        self._after = after
        self._may_fail = may_fail
        self._is_inside = False

    def run(self) -> RealFlush:
        """Flush once, and keep what comes of it.

        :raises Finding: If a send method has done what no check can go on with.
        """
        model = self._harness.model
        with ExitStack() as stack:
            with self._harness.app.app_context():
                stand_ins: dict[str, object] = {
                    name: staticmethod(self._watched(name, sender))
                    for name, sender in senders_of(model).items()
                }
                stand_ins["signalbus_burst_count"] = BURST
                for name, stand_in in stand_ins.items():
                    stack.enter_context(
                        patch.object(model, name, stand_in, create=True)
                    )
            stack.enter_context(self._harness.replacing())
            self._flush()
        for call in self.calls:
            if isinstance(call.error, Finding):
                raise call.error
        return self

    def _flush(self) -> None:
        try:
            self.count = self._harness.flushmany(statements_per_row=_STATEMENTS_PER_ROW)
        except (Finding, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.error = exc

    def _watched(self, name: str, sender: Callable[..., Any]) -> Callable[..., Any]:
        def watched(argument: Any) -> Any:
            if self._is_inside:  # The one sender has called the other.
                return sender(argument)

            is_bulk = name == BULK_SENDER
            call = Call(name, list(argument) if is_bulk else [argument])
            self.calls.append(call)
            if len(self.calls) > _CALLS:
                raise RunawayFlush("too many calls of the send methods")

            return self._made(call, sender, call.signals if is_bulk else argument)

        return watched

    def _made(self, call: Call, sender: Callable[..., Any], argument: Any) -> Any:
        broker = self._harness.broker
        self._before(call)
        already = len(broker.sent)
        self._is_inside = True
        try:
            result = guarded(self._harness, sender, argument)
        except BaseException as exc:
            call.error = exc
            if self._may_fail and not isinstance(exc, Finding):
                raise
            raise Enough from exc
        finally:
            self._is_inside = False
            call.messages = broker.comparable()[already:]

        self._after(call)
        return result

    def expect_success(self) -> None:
        """Expect that nothing was raised.

        :raises Finding: If something was.
        """
        failed = next((call for call in self.calls if call.error is not None), None)
        error = failed.error if failed else self.error
        if error is None:
            return

        culprit = f"'{failed.sender}'" if failed else "the flush"
        raise Finding(
            Fault(
                found=f"in a real flush, {culprit} raised {error!r}",
                expected="the same as when it is called by itself",
                hint=_LOCKED if self._harness.broker.offered else STATE,
            )
        ) from error
