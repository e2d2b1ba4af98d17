"""A stand-in for a message broker: what it accepts is appended to a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from flask import current_app


class BrokerRefused(Exception):
    """The broker did not accept a message."""


def publish(messages: Sequence[tuple[UUID, str]]) -> None:
    """Append the messages to ``outbox.log``, all at once.

    A real broker hands the identifier of each message to its receivers, which
    recognize by it what they have seen already. The log does not show it.
    """
    total = len(messages)
    path = Path(current_app.instance_path, "outbox.log")
    with path.open("a", encoding="utf-8") as log:
        for number, (_, body) in enumerate(messages, start=1):
            log.write(f"[{number:3} of {total:3}] {body}\n")

        # A sender may return only when the broker has stored the messages.
        log.flush()
        os.fsync(log.fileno())
