"""Sample models, and the database extension that they belong to."""

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from support.broker import broker
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin
from swpt_pythonlib.flask_signalbus.atomic import _ModelUtilitiesMixin


class Base(DeclarativeBase):
    """The declarative base of the sample models."""


class CustomSQLAlchemy(SignalBusMixin, AtomicProceduresMixin, SQLAlchemy):
    """What an application defines."""


db = CustomSQLAlchemy(model_class=Base)

if TYPE_CHECKING:

    class Model(_ModelUtilitiesMixin, Base):
        """What it is made of at run time."""

        __abstract__ = True
else:
    Model = db.Model


class Sends:
    """A sender that hands one signal to the broker."""

    @classmethod
    def send_signalbus_message(cls, obj: Any) -> None:
        broker().take([obj])


class SendsMany(Sends):
    """The senders of one and of many signals."""

    @classmethod
    def send_signalbus_messages(cls, objs: Any) -> None:
        broker().take(objs)


def text_column() -> sa.Column[str]:
    """Return the column that each signal has."""
    return sa.Column("text", sa.String(40), nullable=False)


class Note(Sends, Model):
    """A signal that is sent one by one, in bursts of three."""

    signalbus_burst_count = 3

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(40))


class Parcel(SendsMany, Model):
    """A signal that is sent in bulk, in bursts of three."""

    signalbus_burst_count = 3

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(40))


class Pair(SendsMany, Model):
    """A signal with a composite key, and an index that flushing does not need."""

    signalbus_burst_count = 3

    a: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    b: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(40), index=True)


class Ticket(SendsMany, Model):
    """A signal with a random key, and an index that flushing does not need."""

    signalbus_burst_count = 3

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(40), index=True)


class Letter(SendsMany, Model):
    """A signal whose table has been made by 'migrate', in another order of its key."""

    # Tests make tables of their own named "letter".
    __tablename__ = "posted_letter"

    signalbus_burst_count = 3

    user_id: Mapped[str] = mapped_column(String(9))
    letter_id: Mapped[int] = mapped_column(sa.BigInteger, autoincrement=False)
    text: Mapped[str] = mapped_column(String(40))

    __table_args__ = (PrimaryKeyConstraint("letter_id", "user_id"),)


def migrate(engine: sa.Engine) -> None:
    """Make the table that 'create_all' would make in another way."""
    sa.Table(
        Letter.__tablename__,
        sa.MetaData(),
        sa.Column("user_id", String(9)),
        sa.Column("letter_id", sa.BigInteger, autoincrement=False),
        sa.Column("text", String(40), nullable=False),
        PrimaryKeyConstraint("user_id", "letter_id"),
    ).create(engine)


class Receipt(Model):
    """A row that keeps a parcel from being deleted."""

    id: Mapped[int] = mapped_column(primary_key=True)
    parcel_id: Mapped[int] = mapped_column(ForeignKey(Parcel.id))


class Account(Model):
    """A row that transactions fight for."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(default=0)


class Tag(Model):
    """A row that there may be only one of."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[int | None] = mapped_column(ForeignKey(Account.id))

    __table_args__ = (UniqueConstraint("name"),)
