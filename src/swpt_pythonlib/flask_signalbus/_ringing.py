"""How a transaction that records signals tells the workers that wait for them.

A *ring* is sent by the database when the transaction commits, and not at all if it is
rolled back. Whether one is needed is decided at each flush that records signals, and
once more at the commit: a transaction may take long, and only a ring that has been
committed lately makes another one superfluous.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from blinker import Signal
from flask import current_app, has_app_context
from sqlalchemy import (
    Connection,
    Engine,
    TwoPhaseTransaction,
    event,
    inspect,
    text,
)
from sqlalchemy.orm import (
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
    scoped_session,
)

from ._dialects import traits_of
from ._drivers import is_aborted
from ._models import Model, is_signal_model
from ._sessions import writers_of

_RECORDING = "signalbus_recording"

#: A process rings for a table once in so many seconds, in the long run, and so many
#: times at once. PostgreSQL has transactions that ring commit one after the other.
THROTTLE = 0.05
RINGS_AT_ONCE = 10

# What a ring can carry on PostgreSQL is a little more.
_LONGEST_RING = 7000

#: Sent in the process that has committed signals, with the names of their ``tables``.
committed = Signal()


@dataclass
class _Recording:
    """The signals that the current transaction of a session has recorded.

    :param tables: The names of their tables.
    :param rung: On which connections it has rung for which of them.
    """

    tables: set[str] = field(default_factory=set)
    rung: set[tuple[Connection, str]] = field(default_factory=set)


def wakes_up() -> bool:
    """Tell whether the application wants workers to be woken up."""
    return not has_app_context() or bool(
        current_app.config.get("SIGNALBUS_WAKE_UP", True)
    )


def table_name(model: Model) -> str:
    """Return by what name a model's table is rung for."""
    return str(getattr(inspect(model).local_table, "fullname", ""))


def ring_for(tables: Iterable[str]) -> str:
    """Return what a ring for the tables carries."""
    ring = "\n".join(sorted(tables))
    return ring if len(ring.encode()) < _LONGEST_RING else ""


def is_meant_for(tables: Iterable[str], ring: str) -> bool:
    """Tell whether a ring is for one of the tables; an empty one is for all."""
    return not ring or not set(ring.split("\n")).isdisjoint(tables)


class Ringer:
    """Rings in the transactions of a session, or of the sessions of a registry."""

    def __init__(self) -> None:
        #: Until when each table has been rung for, if once in so many seconds.
        self._until: WeakKeyDictionary[Engine, dict[str, float]] = WeakKeyDictionary()

    def attach(self, session: Session | scoped_session[Any]) -> None:
        """Ring in the transactions that record signals, from now on."""
        event.listen(session, "after_flush", self._ring_after_flush)
        event.listen(session, "do_orm_execute", _note_insert)
        event.listen(session, "before_commit", self._ring_before_commit)
        event.listen(session, "after_commit", self._note_commit)
        event.listen(session, "after_soft_rollback", _note_rollback)
        event.listen(session, "after_transaction_end", _note_end)

    def _ring_after_flush(self, session: Session, _: UOWTransaction) -> None:
        _note_models(session, {type(instance) for instance in session.new})
        self._ring(session)

    def _ring_before_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            self._ring(session)

    def _ring(self, session: Session) -> None:
        recording: _Recording | None = session.info.get(_RECORDING)
        if recording is None or not wakes_up():
            return

        for connection in writers_of(session):
            self._ring_on(connection, recording)

    def _ring_on(self, connection: Connection, recording: _Recording) -> None:
        notify = traits_of(connection.dialect).notify
        if notify is None or connection.invalidated or is_aborted(connection):
            return
        # What has rung cannot be prepared for a commit in two phases.
        if isinstance(connection.get_transaction(), TwoPhaseTransaction):
            return

        due = [
            table
            for table in recording.tables
            if (connection, table) not in recording.rung
            and self._is_due(connection.engine, table)
        ]
        if due:
            connection.execute(text(notify), {"ring": ring_for(due)})
            recording.rung.update((connection, table) for table in due)

    def _is_due(self, engine: Engine, table: str) -> bool:
        until = self._until.get(engine, {}).get(table, 0.0)
        return time.monotonic() >= until - (RINGS_AT_ONCE - 1) * THROTTLE

    def _note_commit(self, session: Session) -> None:
        recording: _Recording | None = session.info.get(_RECORDING)
        if recording is None or session.in_nested_transaction():
            return

        for connection, table in recording.rung:
            until = self._until.setdefault(connection.engine, {})
            until[table] = max(until.get(table, 0.0), time.monotonic()) + THROTTLE
        committed.send(tables=recording.tables)


def _note_insert(state: ORMExecuteState) -> None:
    # The connection is known at the commit, when the rows have been inserted.
    if state.is_insert and state.bind_mapper is not None:
        _note_models(state.session, {state.bind_mapper.class_})


def _note_models(session: Session, models: Iterable[Model]) -> None:
    tables = {table_name(model) for model in models if is_signal_model(model)}
    if tables:
        session.info.setdefault(_RECORDING, _Recording()).tables.update(tables)


def _note_rollback(session: Session, _: SessionTransaction) -> None:
    """Ring again: a savepoint may have taken a ring along."""
    if _RECORDING in session.info:
        session.info[_RECORDING].rung.clear()


def _note_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_RECORDING, None)
