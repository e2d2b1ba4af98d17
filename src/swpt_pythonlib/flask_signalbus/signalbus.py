"""The signal bus of an application: a thin face over the flushing of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from ._flushing import flush, plan_of
from ._hooks import is_telling
from ._mixins import SQLAlchemyMixin
from ._models import Model, choose, signal_models_of
from ._pending import PendingSignals, count_pending
from ._retry import RetryPolicy
from ._ringing import Ringer
from ._sessions import current, has_uncommitted_work, owner_of, watch
from ._tallies import Stopped, Tally
from ._transactions import configured_policy
from .signalbus_cli import signalbus as command_group


class SignalBusMixin(SQLAlchemyMixin):
    """A mixin for ``SQLAlchemy``: signals that are recorded with the data.

    It must come before ``SQLAlchemy``::

        from flask_sqlalchemy import SQLAlchemy
        from swpt_pythonlib.flask_signalbus import SignalBusMixin

        class CustomSQLAlchemy(SignalBusMixin, SQLAlchemy):
            pass

        db = CustomSQLAlchemy()

    :raises TypeError: If it comes behind ``SQLAlchemy``, or is used without.

    .. versionadded:: 1.0
    """

    #: The signal bus of this database.
    signalbus: SignalBus

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.signalbus = SignalBus(self)
        super().__init__(*args, **kwargs)

    def init_app(self, app: Flask) -> None:
        """Initialize an application for use with this database and its bus.

        Registers the ``flask signalbus`` commands.

        :raises RuntimeError: If the application has a signal bus already.
        """
        super().init_app(app)
        self.signalbus.init_app(app)


class SignalBus:
    """Sends the signals that have been recorded in a database.

    With :class:`SignalBusMixin` it is made for you; it is found as
    ``db.signalbus`` and as ``app.extensions["signalbus"]``.

    :param db: The extension object whose models are looked at.

    .. versionadded:: 1.0
    """

    #: How patiently a burst that lost a race is repeated. The configuration key
    #: ``SIGNALBUS_RETRY_POLICY`` of an application takes precedence.
    retry_policy: RetryPolicy = RetryPolicy()

    def __init__(self, db: SQLAlchemy) -> None:
        self._db = db

    def init_app(self, app: Flask) -> None:
        """Attach the bus to an application that its database knows already.

        :raises RuntimeError: If the application has another signal bus, or has
            not been initialized for the database.
        """
        if "signalbus" in app.extensions:
            raise RuntimeError("This app has a signal bus already; it can have one.")
        if app.extensions.get("sqlalchemy") is not self._db:
            raise RuntimeError(
                "This app is not initialized for the database of the signal bus;"
                " call 'db.init_app(app)' first."
            )

        if not isinstance(self._db, SQLAlchemyMixin):
            watch(self._db.session)
            Ringer().attach(self._db.session)
        app.extensions["signalbus"] = self
        app.cli.add_command(command_group)

    def get_signal_models(self) -> list[Model]:
        """Return all signal models, sorted by name.

        A signal model is a mapped subclass of ``db.Model`` that has a
        ``send_signalbus_message`` attribute. Models of the same name in
        different modules are sorted by module.
        """
        return signal_models_of(self._db)

    def flushmany(
        self,
        models: Iterable[Model] | None = None,
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> int:
        """Send the pending signals, and delete them.

        For each model, signals are sent in the order of their primary key, in
        bursts of ``signalbus_burst_count``. Each burst is one transaction: the
        signals are claimed and deleted, then handed to the model's sender, and
        committed when it returns. Any number of processes may flush at the same
        time: each signal is sent by one of them. What is recorded after the
        flush of its model has begun may be left to the next flush.

        The senders run on ``db.session``. What they change there is committed
        together with the deletion, and vanishes with it when they raise. They
        must neither commit nor roll back the session.

        When a sender raises, its burst is rolled back. What is known to have been
        sent is then deleted: the signals before the one at which the single sender
        raised, and those that a bulk sender does not name in
        :class:`~swpt_pythonlib.flask_signalbus.SignalsRefused`; they are sent again
        only if the sender has written through ``db.session``. The others are tried
        again one by one, so that those that can be sent are sent. When nothing
        gets through, the model is given up after about ten attempts. The other
        models are flushed nevertheless.

        :param models: The signal models to flush; all of them by default.
        :param should_stop: Called before each burst, in which no transaction is open.
            When it returns true, the flush ends as if nothing were left.
        :return: The number of signals that this call has sent.
        :raises TypeError: If ``models`` is a model, and not a list of models.
        :raises RuntimeError: If there is a model that is not a signal model; if
            the session has uncommitted changes, or is in an atomic block.
            Nothing has been sent then, and the session is as it was. Also if a
            sender ends the transaction.
        :raises ValueError: If a ``signalbus_burst_count`` is not a positive
            integer. Nothing has been sent then.
        :raises BaseException: The first error of a sender or of the database, when
            all the models have been flushed; the others are logged. Only
            ``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit`` and
            ``GreenletExit`` end the flush at once. A note on the error tells how many
            signals have been sent all the same.

        .. versionchanged:: 1.1
            Added ``should_stop``, and the note.
        """
        tally = Tally(should_stop=should_stop)
        self._flush(models, tally)
        if tally.first_error is not None:
            tally.first_error.add_note(tally.note)
            raise tally.first_error

        return tally.sent

    def _flush(self, models: Iterable[Model] | None, tally: Tally) -> None:
        """Flush models; note in the tally what has been sent, and what has failed."""
        if current_app.extensions.get("signalbus") is not self:
            raise RuntimeError(
                "'init_app' has not been called on this app; this signal bus is not"
                " attached to it."
            )

        policy = configured_policy(self.retry_policy)
        chosen = self._chosen("flushmany", models)
        only = chosen if tally.only is None else tally.only
        plans = [plan_of(model) for model in chosen if model in only]
        self._end_reading()
        try:
            for plan in plans:
                flush(plan, self._db.session, policy, tally)
        except Stopped:
            pass
        except BaseException as error:
            error.add_note(tally.note)
            raise
        tally.tell_repetitions()

    def pending(
        self, models: Iterable[Model] | None = None, *, max_count: int | None = None
    ) -> list[PendingSignals]:
        """Return how many signals are pending, and how old the oldest ones are.

        They are looked for where a flush would look. A transaction of ``db.session``
        that is open sees what it has written itself; if none is open, none is left.

        The age is known where the model says which attribute holds the moment of
        recording, by ``signalbus_created_at = "created_at"``, for instance. An index of
        that column makes it cheap.

        :param models: The signal models to look at; all of them by default.
        :param max_count: Where to stop counting, since it takes long to count a
            million signals.
        :return: One element for each model, in the order of the models.
        :raises TypeError: If ``models`` is a model, and not a list of models.
        :raises RuntimeError: If there is a model that is not a signal model, or whose
            signals do not lie in exactly one table.
        :raises ValueError: If ``signalbus_created_at`` does not name an attribute that
            is mapped to a ``DateTime`` column, or if ``max_count`` is less than 1.

        .. versionadded:: 1.1
        """
        if max_count is not None and max_count < 1:
            raise ValueError(f"'max_count' must be 1 or more, got {max_count}.")

        return [
            count_pending(model, self._db.session, max_count=max_count)
            for model in self._chosen("pending", models)
        ]

    def _chosen(self, caller: str, models: Iterable[Any] | None) -> list[Model]:
        if isinstance(models, type):
            raise TypeError(
                f"'{caller}' takes a list of models, not a model; pass"
                f" '[{models.__name__}]'."
            )
        if isinstance(models, str):
            models = [models]  # or else its letters would be looked at

        known = self.get_signal_models()
        chosen = known if models is None else list(dict.fromkeys(models))
        for model in chosen:
            if isinstance(model, str):
                raise RuntimeError(
                    f"'{model}' is not a signal model, but a string."
                    f" 'get_models_to_flush(signalbus, [{model!r}])' finds the models"
                    f" of that name."
                )
            if model not in known:
                name = getattr(model, "__name__", model)
                raise RuntimeError(
                    f"'{name}' is not a signal model of this database. A signal model"
                    f" is mapped to a table, and has a 'send_signalbus_message' class"
                    f" method."
                )

        return chosen

    def _end_reading(self) -> None:
        session = self._db.session
        if is_telling():
            raise RuntimeError(
                "Signals can not be flushed by the receiver of a hook; call 'flushmany'"
                " when the flush that it is told of has ended."
            )
        if owner_of(session) is not None:
            raise RuntimeError(
                "Signals can not be flushed inside an atomic block, or by a sender;"
                " call 'flushmany' when the block has ended."
            )
        if has_uncommitted_work(session):
            raise RuntimeError(
                "Signals can not be flushed while the session has uncommitted"
                " changes; commit them or roll them back first."
            )

        if current(session).in_transaction():
            # A rollback would lose what a function called by a SELECT has written.
            session.commit()


def get_models_to_flush(
    signalbus: SignalBus, model_names: Iterable[str]
) -> list[Model]:
    """Return the signal models that have the given names, or all of them.

    An unknown name is logged as a warning, and otherwise ignored.

    :param signalbus: The bus whose models are looked at.
    :param model_names: The names of classes; all signal models if there are none.

    .. versionadded:: 1.0
    """
    return choose(signalbus.get_signal_models(), model_names)
