"""The same with 'db.Model' itself, and a model class of Flask-SQLAlchemy's kind."""

# Mypy does not take an attribute of an object for a class.
# mypy: disable-error-code="name-defined,misc"

from typing import Protocol
from uuid import UUID, uuid4

import flask_sqlalchemy.model
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    SignalBusMixin,
    SignalRow,
)

from . import broker


class CustomSQLAlchemy(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass


class OwnModel(flask_sqlalchemy.model.Model):
    pass


db = CustomSQLAlchemy(model_class=OwnModel)


class OrderLostRow(SignalRow, Protocol):
    message_id: UUID
    order_id: int


class OrderLost(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(default=uuid4)
    order_id: Mapped[int]

    @classmethod
    def send_signalbus_message(cls, signal: OrderLostRow) -> None:
        broker.publish(signal.message_id, f"loss of {signal.order_id}")


@db.atomic
def lose_order(order_id: int) -> OrderLost:
    signal = OrderLost(order_id=order_id)
    db.session.add(signal)
    db.session.flush()
    found: OrderLost | None = OrderLost.get_instance(signal.id)
    assert found is signal
    return signal
