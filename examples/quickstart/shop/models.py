"""An ordinary table, and two signal models."""

# Flask-SQLAlchemy makes "db.Model" at run time, where type checkers cannot see it.
# mypy: disable-error-code="name-defined,misc"

from collections.abc import Sequence

from sqlalchemy.orm import Mapped, mapped_column

from . import broker
from .extensions import db


class Order(db.Model):
    """What the shop itself needs to know."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    quantity: Mapped[int]


class OrderPlaced(db.Model):
    """Tells the warehouse. Many of these are sent at once."""

    signalbus_burst_count = 100

    order_id: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: "OrderPlaced") -> None:
        cls.send_signalbus_messages([signal])

    @classmethod
    def send_signalbus_messages(cls, signals: Sequence["OrderPlaced"]) -> None:
        broker.publish(
            [f"OrderPlaced: order {s.order_id}, {s.quantity} pc." for s in signals]
        )


class InvoiceIssued(db.Model):
    """Tells the customer. Each is sent alone, in its own transaction."""

    order_id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]

    @classmethod
    def send_signalbus_message(cls, signal: "InvoiceIssued") -> None:
        if "@" not in signal.email:
            raise broker.BrokerRefused(f"No such recipient: {signal.email}")

        broker.publish([f"InvoiceIssued: order {signal.order_id}, to {signal.email}"])
