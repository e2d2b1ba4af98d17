"""The database object, with the signal bus and the atomic procedures mixed in."""

from typing import TYPE_CHECKING

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    ModelUtilities,
    SignalBusMixin,
)


class CustomSQLAlchemy(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    """Flask-SQLAlchemy with ``db.atomic`` and ``db.signalbus``."""


class Base(DeclarativeBase):
    """What all models have in common."""


db = CustomSQLAlchemy(model_class=Base)

if TYPE_CHECKING:

    class Model(ModelUtilities, Base):
        """What type checkers see of ``db.Model``."""

        __abstract__ = True

else:
    Model = db.Model
