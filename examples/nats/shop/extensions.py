"""The database object, with the signal bus and the atomic procedures mixed in."""

from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class CustomSQLAlchemy(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    """Flask-SQLAlchemy with ``db.atomic`` and ``db.signalbus``."""


db = CustomSQLAlchemy()
