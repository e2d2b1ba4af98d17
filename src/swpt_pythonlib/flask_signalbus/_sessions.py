"""The record of a session's transaction: what it has done, and who may end it.

Events of the session and of its engines keep the record:

====================  ==========================================================
when                  what happens
====================  ==========================================================
a block or a burst    It makes a record of its own, which takes over what an
begins                unowned transaction has done so far, and owns the
                      transactions of the session until its own end.
a connection begins   The record notes the connection, and is found by way of
                      it from now on. Without an owner, it is made here.
a statement is        It may have written, so that a rollback would lose work.
executed
an error occurs       A serialization conflict dooms all of the owner's work,
                      whatever becomes of the exception; a collision may be
                      cured by another attempt.
somebody else         It is forbidden (a sender), or noted (in a block), and
commits               what has been committed cannot be executed again.
the owner commits     A doomed transaction is rolled back instead. The objects
                      of a block are detached before they would expire.
the transaction ends  What the record says of the transaction is forgotten;
                      what it says of the owner's work stays until the owner
                      ends. An unowned record is dropped.
====================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from ._dialects import traits_of
from ._drivers import has_survived, is_aborted
from ._errors import is_collision, is_conflict
from ._logs import logger
from ._reads import only_reads
from .exceptions import DBSerializationError

_RECORD = "signalbus_record"
_WATCHED = "signalbus_watched"


@dataclass(kw_only=True)
class Record:
    """What has happened in a transaction, or in all those of its owner.

    :param is_owned: Whether a block or a burst owns it, which alone may commit.
    :param sends: The name of the model whose signals are being sent, if the owner is
        a burst. Nobody else may commit then.
    :param detaches_objects: Whether the owner's commit leaves the session empty, and
        its objects as they are, instead of expired.
    """

    is_owned: bool = True
    sends: str | None = None
    detaches_objects: bool = False
    is_committing: bool = False
    #: Whether a part of the owner's work may be committed though the rest is not.
    may_be_partly_committed: bool = False
    #: What others got for trying to commit though it is forbidden.
    violation: RuntimeError | None = None
    #: The first conflict that happened, even if the application swallowed it.
    conflict: DBAPIError | None = None
    #: The last violated constraint that another attempt may find satisfied.
    collision: DBAPIError | None = None
    #: Of the current transaction: whether it has written, the connections that have,
    #: and all of its connections with the last error on each, if any.
    wrote: bool = False
    writers: set[Connection] = field(default_factory=set)
    connections: dict[Connection, DBAPIError | None] = field(default_factory=dict)

    def lost_race(self, error: BaseException) -> bool:
        """Tell whether an error means that another attempt could succeed."""
        return error is self.conflict or isinstance(error, DBSerializationError)

    def forbid_commit_of_sender(self) -> None:
        """Keep a sender from committing; a block may be committed in part.

        :raises RuntimeError: If the owner is a burst.
        """
        if self.sends is not None:
            self.violation = RuntimeError(
                f"A sender of '{self.sends}' must not commit the session; what it has"
                f" written is committed together with the deletion of its signals."
            )
            raise self.violation

    def take_over(self, unowned: Record) -> None:
        """Continue the record of a transaction that has begun before its owner."""
        self.conflict, self.wrote = unowned.conflict, unowned.wrote
        self.connections, self.writers = unowned.connections, unowned.writers
        for connection in self.connections:
            connection.info[_RECORD] = self


def watch(session: Session | scoped_session[Any]) -> None:
    """Keep the record of a session's transactions, from now on."""
    for name, listener in _SESSION_EVENTS.items():
        event.listen(session, name, listener)


def owner_of(session: Session | scoped_session[Any]) -> Record | None:
    """Return the record of whoever owns the session's transactions, if anybody."""
    record = _record_of(session)
    return record if record is not None and record.is_owned else None


def writers_of(session: Session) -> set[Connection]:
    """Return the connections that have written in the current transaction."""
    record = _record_of(session)
    return set() if record is None else record.writers


def has_uncommitted_work(session: scoped_session[Any]) -> bool:
    """Tell whether a rollback of the session would lose something."""
    found = current(session)
    record = _record_of(found)
    return bool(
        (record and record.wrote)
        or found.new
        or found.deleted
        or any(found.is_modified(instance) for instance in found.dirty)
    )


@dataclass(frozen=True)
class _Ownership:
    """The record of an owner, wherever the session of its scope may have gone."""

    session: scoped_session[Any] | Session
    scope: object
    record: Record


# What owns sessions now, the outermost first; a thread or a greenlet has its own.
_OWNERSHIPS: ContextVar[tuple[_Ownership, ...]] = ContextVar(
    "signalbus_ownerships", default=()
)


@contextmanager
def owned_transaction(session: scoped_session[Any], record: Record) -> Iterator[None]:
    """Own the transaction of the session; commit it at the end, or roll it back.

    A conflict that happened underway is raised even if the code in between made
    something else of it: the database may have rolled back the first half of
    the transaction, and would commit the second.
    """
    begun = current(session)
    if (unowned := _record_of(begun)) is not None:
        record.take_over(unowned)
    begun.info[_RECORD] = record
    ownership = _Ownership(session, _scope_of(session), record)
    token = _OWNERSHIPS.set((*_OWNERSHIPS.get(), ownership))
    try:
        yield
        session.flush()
        _raise_what_dooms(record)
        # When one of several commits fails, others may have succeeded.
        if len(record.writers) > 1:
            record.may_be_partly_committed = True
        record.is_committing = True
        session.commit()
    except BaseException as error:
        roll_back(session)
        if isinstance(error, Exception) and record.conflict not in (None, error):
            raise record.conflict from record.conflict.orig
        raise
    finally:
        record.is_owned = False
        session.info.pop(_RECORD, None)
        _OWNERSHIPS.reset(token)


def roll_back(session: scoped_session[Any]) -> None:
    """Roll back, whatever state the connection is in; raise nothing else instead."""
    try:
        session.rollback()
    except Exception:
        logger.warning("A transaction could not be rolled back.", exc_info=True)
        current(session).invalidate()


def _raise_what_dooms(record: Record) -> None:
    """Raise a conflict, or an error that was caught but has ended the transaction.

    PostgreSQL answers the COMMIT of an aborted transaction without an error.
    """
    if record.conflict is not None:
        raise record.conflict

    for connection, error in record.connections.items():
        if error is not None and not has_survived(connection):
            raise error from error.orig
        if is_aborted(connection):
            raise RuntimeError(
                "The transaction has been aborted by an error on a cursor of the"
                " driver; nothing of it has been committed. Let the error pass."
            )


def _note_connection(
    session: Session, transaction: SessionTransaction, connection: Connection
) -> None:
    record = _record_of(session)
    if record is None:
        record = session.info[_RECORD] = Record(is_owned=False)
    record.connections.setdefault(connection, None)
    _watch_engine(connection.engine)
    # The engine's events find the record by way of the driver's connection,
    # which serves one transaction at a time.
    connection.info[_RECORD] = record


def _watch_engine(engine: Engine) -> None:
    # Not 'event.contains', which takes a new engine for one that is gone if it lies
    # at the same address.
    if not engine.get_execution_options().get(_WATCHED):
        for name, listener in _ENGINE_EVENTS.items():
            event.listen(engine, name, listener)
        engine.update_execution_options(**{_WATCHED: True})


def _note_write(
    connection: Connection, cursor: object, statement: str, *_: object
) -> None:
    record = _record_on(connection)
    # Many objects may be inserted one by one.
    if record.wrote and connection in record.writers:
        return
    if not only_reads(statement):
        record.wrote = True
        record.writers.add(connection)


def _note_error(context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError) or context.connection is None:
        return

    traits = traits_of(context.dialect)
    record = _record_on(context.connection)
    record.connections[context.connection] = error
    if is_conflict(error, traits):
        record.conflict = record.conflict or error
    elif is_collision(error, traits):
        record.collision = error


def _guard_commit(session: Session) -> None:
    record = owner_of(session)
    if record is None or record.is_committing or session.in_nested_transaction():
        return
    if record.conflict is not None:
        raise record.conflict

    record.forbid_commit_of_sender()


def _guard_driver_commit(connection: Connection) -> None:
    """Guard against a commit that passes by the session."""
    record = _record_on(connection)
    if record.is_owned and not record.is_committing:
        record.forbid_commit_of_sender()
        record.may_be_partly_committed = True


def _note_commit(session: Session) -> None:
    record = owner_of(session)
    if record is None or session.in_nested_transaction():
        return
    # Whatever another listener is about to raise: this work is done.
    record.may_be_partly_committed = True
    if record.is_committing and record.detaches_objects:
        # The objects of the session would expire next.
        session.expunge_all()


def _note_end(session: Session, transaction: SessionTransaction) -> None:
    record = _record_of(session)
    if record is None or transaction.parent is not None:
        return

    record.wrote = False
    record.writers = set()
    record.connections = {}
    if not record.is_owned:
        session.info.pop(_RECORD)


def _record_of(session: Session | scoped_session[Any]) -> Record | None:
    record: Record | None = session.info.get(_RECORD)
    for ownership in _OWNERSHIPS.get() if record is None else ():
        # The session has been removed, and has been followed by this one.
        if (
            ownership.scope == _scope_of(ownership.session)
            and current(ownership.session).info is session.info
        ):
            record = session.info[_RECORD] = ownership.record

    return record


def current(session: Session | scoped_session[Any]) -> Session:
    """Return the session itself, if it is one of several that a proxy leads to."""
    return session() if isinstance(session, scoped_session) else session


def _scope_of(session: Session | scoped_session[Any]) -> object:
    """Return what a proxy tells its sessions apart by."""
    registry = getattr(session, "registry", None)
    scope = getattr(registry, "scopefunc", get_ident)
    return scope()


def _record_on(connection: Connection) -> Record:
    record: Record | None = connection.info.get(_RECORD)
    # The driver's connection may have served another transaction in the meantime.
    if record is None or connection not in record.connections:
        return Record(is_owned=False)

    return record


_ENGINE_EVENTS: dict[str, Callable[..., None]] = {
    "after_cursor_execute": _note_write,
    "handle_error": _note_error,
    "commit": _guard_driver_commit,
}
_SESSION_EVENTS: dict[str, Callable[..., None]] = {
    "after_begin": _note_connection,
    "before_commit": _guard_commit,
    "after_commit": _note_commit,
    "after_transaction_end": _note_end,
}
