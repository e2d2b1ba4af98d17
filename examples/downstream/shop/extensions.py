from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class Database(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass


db = Database()
