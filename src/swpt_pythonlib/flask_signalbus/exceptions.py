"""The errors that callers may want to catch, or to raise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class DBSerializationError(Exception):
    """A transaction lost a race against another one and can be retried.

    Raise it inside an atomic block to have the whole block rolled back and
    executed again, as if the database itself had reported a serialization
    conflict. It reaches the caller when the attempts run out, and when a block
    that should be retried had joined work that cannot be repeated; then
    ``__cause__`` is the conflict that the database reported.

    .. versionadded:: 1.0
    """


class SignalsRefused(Exception):
    """Some signals of a burst were refused; **all the others were confirmed**.

    Raise it in ``send_signalbus_messages``, from the client's error if there is one.
    The confirmed signals are deleted and not sent again, unless the sender has written
    through ``db.session``. The refused ones are tried again one by one; those that are
    refused again stay in the table, for the next flush.

    What is not named is deleted, so name also what the client was never asked to send.
    From a single sender, it is an error like any other.

    :param refused: The objects that were refused, as the sender has received them; of
        copies nobody knows which signals they stand for.
    :raises ValueError: If there are none.

    ::

        @classmethod
        def send_signalbus_messages(cls, signals):
            signals = list(signals)
            results = publish([signal.body for signal in signals])
            refused = [s for s, ok in zip(signals, results, strict=True) if not ok]
            if refused:
                raise SignalsRefused(refused)

    .. versionadded:: 1.1
    """

    def __init__(self, refused: Iterable[Any]) -> None:
        self.refused: list[Any] = list(refused)
        if not self.refused:
            raise ValueError(
                "'SignalsRefused' needs the signals that were refused; return if all of"
                " them were confirmed."
            )

        super().__init__(
            f"Signals of the burst that were refused: {len(self.refused)}."
        )
