"""A transactional outbox for Flask-SQLAlchemy.

An application records *signals*, rows of its own tables, in the same
transaction as its data. The signal bus sends them afterwards, over whatever
message bus the application uses, and deletes them.
"""

from ._pending import PendingSignals
from ._retry import RetryPolicy
from .atomic import AtomicProceduresMixin
from .exceptions import DBSerializationError, SignalsRefused
from .signalbus import SignalBus, SignalBusMixin, get_models_to_flush

__all__ = [
    "AtomicProceduresMixin",
    "DBSerializationError",
    "PendingSignals",
    "RetryPolicy",
    "SignalBus",
    "SignalBusMixin",
    "SignalsRefused",
    "get_models_to_flush",
]
