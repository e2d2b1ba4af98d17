"""The only place where the shop talks to its message broker."""

from collections.abc import Iterable


class BrokerError(Exception):
    """The broker did not confirm a message."""


def publish(messages: Iterable[dict[str, object]]) -> None:
    """Return when the broker has confirmed all messages, raise if it has not."""
    raise BrokerError("There is no broker here; this is an example.")
