"""What the outboxes that are compared have in common: the recorder and the sender.

All of them import this, whichever environment they run in.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

MOMENT = "2025-01-31 12:34:56.789012"


@dataclass
class Sender:
    """Sends a message nowhere, and says what it was asked for.

    :param between: Say only how long it took from one message to another, where the
        first one sent is 1. If this is missing, say the number of each message.
    :param dies_at: The process is killed when it has sent so many.
    :param refuses: The number of a message that can't be sent.
    """

    between: tuple[int, int] | None = None
    dies_at: int | None = None
    refuses: int | None = None
    sent: int = 0
    started: float = 0.0

    def send(self, text: str) -> None:
        self.sent += 1
        if self.between is None:
            self._send_one(int(text.split()[4]))
        elif self.sent == self.between[0]:
            self.started = time.monotonic()
        elif self.sent == self.between[1]:
            say({"seconds": time.monotonic() - self.started})

    def _send_one(self, number: int) -> None:
        if number == self.refuses:
            raise RuntimeError(f"Message {number} is refused.")

        say({"sent": number, "at": time.monotonic()})
        if self.sent == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def serve(distributions: list[str], record: Callable[[list[str]], object]) -> None:
    """Record what is asked for, until the input ends."""
    say({"versions": {name: version(name) for name in distributions}})
    for line in sys.stdin:
        numbers = range(1, int(line) + 1)
        record([f"confirmation of order number {n:07} to a customer" for n in numbers])
        say({"committed": time.monotonic()})


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
