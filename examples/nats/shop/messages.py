"""What the shop and its warehouses say to each other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A message, as a broker sees it."""

    #: Two messages with the same identifier are the same message, sent twice.
    id: str
    #: For whom it is, as ``orders.berlin``.
    topic: str
    #: JSON.
    body: str
