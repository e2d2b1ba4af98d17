"""Models with annotated columns, and a sender that says what it reads."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from swpt_pythonlib.flask_signalbus import SignalRow

from . import broker
from .extensions import Model


class Order(Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(100))


class OrderPlacedRow(SignalRow, Protocol):
    message_id: UUID
    order_id: int


class OrderPlaced(Model):
    signalbus_burst_count = 100

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(default=uuid4)
    order_id: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: OrderPlacedRow) -> None:
        cls.send_signalbus_messages([signal])

    @classmethod
    def send_signalbus_messages(cls, signals: Iterable[OrderPlacedRow]) -> None:
        for signal in signals:
            broker.publish(signal.message_id, f"order {signal.order_id}")
