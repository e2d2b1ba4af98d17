"""The tables of the shop, and those of a warehouse."""

# Flask-SQLAlchemy makes "db.Model" at run time, where type checkers cannot see it.
# mypy: disable-error-code="name-defined,misc"

import json
import uuid
from collections.abc import Iterable
from typing import Any

from flask import current_app
from sqlalchemy.orm import Mapped, mapped_column

from swpt_pythonlib.flask_signalbus import SignalsRefused

from .extensions import db
from .messages import Message


class BurstCountFromConfig:
    """Reads ``SHOP_BURST_COUNT`` at each flush."""

    def __get__(self, instance: object, owner: type) -> int:
        return int(current_app.config["BURST_COUNT"])


class Order(db.Model):
    """What the shop itself needs to know."""

    # Not a word of SQL.
    __tablename__ = "shop_order"

    id: Mapped[int] = mapped_column(primary_key=True)
    warehouse: Mapped[str] = mapped_column(db.String(50))
    quantity: Mapped[int]


class OrderPlaced(db.Model):
    """Tells a warehouse what to reserve."""

    signalbus_burst_count = BurstCountFromConfig()

    order_id: Mapped[int] = mapped_column(primary_key=True)
    # Made once, when the signal is recorded: it is the same however often it is sent.
    message_id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    warehouse: Mapped[str] = mapped_column(db.String(50))
    quantity: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        cls.send_signalbus_messages([signal])

    @classmethod
    def send_signalbus_messages(cls, signals: Iterable[Any]) -> None:
        signals = list(signals)
        publisher = current_app.extensions["publisher"]
        refused = publisher.publish([_message_of(signal) for signal in signals])
        if refused:
            raise SignalsRefused(s for s in signals if str(s.message_id) in refused)


class ReceivedMessage(db.Model):
    """The inbox of a warehouse: which messages it has dealt with."""

    id: Mapped[str] = mapped_column(db.String(36), primary_key=True)


class Reservation(db.Model):
    """What a warehouse does about an order."""

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    quantity: Mapped[int]


def _message_of(signal: Any) -> Message:
    content = {"order_id": signal.order_id, "quantity": signal.quantity}
    return Message(
        id=str(signal.message_id),
        topic=f"orders.{signal.warehouse}",
        body=json.dumps(content),
    )
