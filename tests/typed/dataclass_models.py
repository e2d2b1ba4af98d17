"""A model that is a dataclass."""

from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy.orm import Mapped, MappedAsDataclass, mapped_column

from swpt_pythonlib.flask_signalbus import SignalRow

from . import broker
from .extensions import Model


class OrderPaidRow(SignalRow, Protocol):
    message_id: UUID
    order_id: int


class OrderPaid(MappedAsDataclass, Model):
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    message_id: Mapped[UUID] = mapped_column(default_factory=uuid4, init=False)
    order_id: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: OrderPaidRow) -> None:
        broker.publish(signal.message_id, f"payment of {signal.order_id}")
