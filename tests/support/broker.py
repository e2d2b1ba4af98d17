"""The message bus of the tests' own models."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import current_app


class BrokerRefused(Exception):
    """The broker would not take a message."""


class Broker:
    """Take messages, unless told otherwise, and remember them."""

    def __init__(self) -> None:
        #: The texts of the messages that were taken, in this order.
        self.sent: list[str] = []
        #: The texts that each call of a sender brought, taken or not.
        self.calls: list[list[str]] = []
        #: The objects themselves.
        self.objects: list[Any] = []
        self.refused: Callable[[str], bool] = lambda text: False
        #: Called with each text before it is taken.
        self.meanwhile: Callable[[str], object] = lambda text: None

    def refuse(self, *texts: str) -> None:
        """Refuse these messages, and no others."""
        self.refused = texts.__contains__

    def go_down(self) -> None:
        """Refuse every message."""
        self.refused = lambda text: True

    def recover(self) -> None:
        """Refuse nothing any more."""
        self.refused = lambda text: False

    def take(self, signals: Iterable[Any]) -> None:
        """Take the signals of one call of a sender."""
        signals = list(signals)
        self.calls.append([signal.text for signal in signals])
        for signal in signals:
            self.meanwhile(signal.text)
            if self.refused(signal.text):
                raise BrokerRefused(signal.text)

            self.sent.append(signal.text)
            self.objects.append(signal)


def broker() -> Broker:
    """Return the broker of the current application."""
    found: Broker = current_app.extensions["broker"]
    return found
