from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from shop import broker
from shop.extensions import db


class Customer(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(50), nullable=False)


class OrderPlaced(db.Model):
    """A message for the warehouse."""

    id = db.Column(db.Integer, primary_key=True)
    article = db.Column(db.String(50), nullable=False)
    pieces = db.Column(db.Integer, nullable=False)

    signalbus_burst_count = 100

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        cls.send_signalbus_messages([signal])

    @classmethod
    def send_signalbus_messages(cls, signals: Iterable[Any]) -> None:
        broker.publish(
            {"type": "OrderPlaced", "article": signal.article, "pieces": signal.pieces}
            for signal in signals
        )


class OrderPaid(db.Model):
    """A message for the accountants."""

    id = db.Column(db.Integer, primary_key=True)
    customer_id = db.Column(db.ForeignKey(Customer.id), nullable=False)
    amount = db.Column(db.Numeric(10, 2), nullable=False)

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        message = {
            "type": "OrderPaid",
            "customer": signal.customer_id,
            "amount": str(signal.amount),
        }
        broker.publish([message])


class ShopVisited(db.Model):
    """A message for the statistics, which may be lost."""

    id = db.Column(db.Integer, primary_key=True)
    page = db.Column(db.String(200), nullable=False)

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        with suppress(broker.BrokerError):
            broker.publish([{"type": "ShopVisited", "page": signal.page}])


@db.atomic
def place_order(article: str, pieces: int) -> None:
    db.session.add(OrderPlaced(article=article, pieces=pieces))
