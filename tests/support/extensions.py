"""Database extensions that have one mixin or both, in either order."""

from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class AtomicSQLAlchemy(AtomicProceduresMixin, SQLAlchemy):
    """An extension with atomic blocks, and without a bus."""


class BothMixins(SignalBusMixin, AtomicProceduresMixin, SQLAlchemy):
    """An extension with everything."""


class MixinsReversed(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    """The same in the other order."""
