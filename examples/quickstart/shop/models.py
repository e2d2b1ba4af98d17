"""An ordinary table, and two signal models."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from swpt_pythonlib.flask_signalbus import SignalRow

from . import broker
from .extensions import Model


class Order(Model):
    """What the shop itself needs to know."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]


class OrderPlacedRow(SignalRow, Protocol):
    """What the sender below reads of a signal."""

    message_id: UUID
    order_id: int
    quantity: int


class OrderPlaced(Model):
    """Tells the warehouse. Many of these are sent at once."""

    signalbus_burst_count = 100

    order_id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(default=uuid4)
    quantity: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: OrderPlacedRow) -> None:
        cls.send_signalbus_messages([signal])

    @classmethod
    def send_signalbus_messages(cls, signals: Iterable[OrderPlacedRow]) -> None:
        broker.publish(
            [
                (s.message_id, f"OrderPlaced: order {s.order_id}, {s.quantity} pc.")
                for s in signals
            ]
        )


class InvoiceIssuedRow(SignalRow, Protocol):
    """What the sender below reads of a signal."""

    message_id: UUID
    order_id: int
    email: str


class InvoiceIssued(Model):
    """Tells the customer. Each is sent alone, in its own transaction."""

    order_id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(default=uuid4)
    email: Mapped[str] = mapped_column(String(200))

    @classmethod
    def send_signalbus_message(cls, signal: InvoiceIssuedRow) -> None:
        if "@" not in signal.email:
            raise broker.BrokerRefused(f"No such recipient: {signal.email}")

        body = f"InvoiceIssued: order {signal.order_id}, to {signal.email}"
        broker.publish([(signal.message_id, body)])
