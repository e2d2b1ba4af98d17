"""A model without annotations."""

from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy import Column, Integer, Uuid

from swpt_pythonlib.flask_signalbus import SignalRow

from . import broker
from .extensions import Model


class OrderSentRow(SignalRow, Protocol):
    message_id: UUID
    order_id: int


class OrderSent(Model):
    id = Column(Integer, primary_key=True)
    message_id = Column(Uuid, nullable=False, default=uuid4)
    order_id = Column(Integer, nullable=False)

    @classmethod
    def send_signalbus_message(cls, signal: OrderSentRow) -> None:
        broker.publish(signal.message_id, f"parcel of {signal.order_id}")
