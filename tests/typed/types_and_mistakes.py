"""The types that checkers find, and the mistakes that they must find.

A mistake that is not found is reported as an ignored error that is none.
"""

from typing import Any, Protocol, assert_type

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import Row
from sqlalchemy.orm import Mapped, mapped_column, scoped_session

from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    SignalBus,
    SignalBusMixin,
    SignalRow,
)

from .db_model import OrderLost
from .extensions import CustomSQLAlchemy, Model, db
from .models import Order, OrderPlaced
from .procedures import correct_email, place_order


class OnlyBus(SignalBusMixin, SQLAlchemy):
    pass


class OnlyBlocks(AtomicProceduresMixin, SQLAlchemy):
    pass


class OtherOrder(SignalBusMixin, AtomicProceduresMixin, SQLAlchemy):
    pass


class ReminderRow(SignalRow, Protocol):
    id: int


class Reminder(Model):
    id: Mapped[int] = mapped_column(primary_key=True)

    def text(self) -> str:
        return f"reminder {self.id}"

    @classmethod
    def send_signalbus_message(cls, signal: ReminderRow) -> None:
        assert_type(signal.id, int)
        assert_type(str(signal), str)
        assert_type(signal[0], Any)
        signal.text()  # type: ignore[attr-defined]


def what_the_database_is(app: Flask) -> None:
    assert_type(CustomSQLAlchemy(app), CustomSQLAlchemy)
    assert_type(OnlyBus(app).signalbus, SignalBus)
    assert_type(OnlyBlocks(app).session, scoped_session[Session])
    assert_type(OtherOrder(app).signalbus.flushmany(), int)
    assert_type(db.session, scoped_session[Session])
    assert_type(db.session.get(Order, 1), Order | None)


def what_a_block_returns() -> None:
    assert_type(place_order("alice@example.com"), Order)
    assert_type(correct_email(1, email="alice@example.com"), bool)
    assert_type(db.execute_atomic(place_order, "alice@example.com"), Order)
    place_order(1)  # type: ignore[arg-type]
    place_order()  # type: ignore[call-arg]


def what_a_model_can_do() -> None:
    assert_type(Order.get_instance(1), Order | None)
    assert_type(Order.lock_instance(1, nowait=True), Order | None)
    assert_type(Order.get_pk_values(1), tuple[Any, ...])
    assert_type(OrderLost(order_id=1).order_id, int)


def what_a_sender_takes(row: Row[Any]) -> SignalRow:
    # An instance of the model is no row.
    OrderPlaced.send_signalbus_message(
        OrderPlaced(order_id=1)  # type: ignore[arg-type]
    )
    return row
