"""A transactional outbox for Flask-SQLAlchemy.

An application records *signals*, rows of its own tables, in the same
transaction as its data. The signal bus sends them afterwards, over whatever
message bus the application uses, and deletes them.
"""

from ._hooks import burst_sent, pass_ended, sending_failed
from ._models import SignalRow
from ._pending import PendingSignals
from ._retry import RetryPolicy
from .atomic import AtomicProceduresMixin, ModelUtilities
from .exceptions import DBSerializationError, SignalsRefused
from .signalbus import SignalBus, SignalBusMixin, get_models_to_flush

__all__ = [
    "AtomicProceduresMixin",
    "DBSerializationError",
    "ModelUtilities",
    "PendingSignals",
    "RetryPolicy",
    "SignalBus",
    "SignalBusMixin",
    "SignalRow",
    "SignalsRefused",
    "burst_sent",
    "get_models_to_flush",
    "pass_ended",
    "sending_failed",
]
