"""What the present transaction of a session has done, and who owns it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, event, literal, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from ._dialects import is_collision, is_conflict, traits_of
from .exceptions import DBSerializationError

_LEDGER = "signalbus_ledger"
_OWNER = "signalbus_owner"
_WATCHED = "signalbus_watched"

# What libpq calls PQTRANS_INERROR.
_IN_ERROR = 3

logger = logging.getLogger(__name__)

# Statements that write nothing, behind comments and parentheses. A 'WITH' may
# lead to either, so it is a read if no writing word follows.
_READ = re.compile(
    r"""(?: \s | \( | /\*(?:(?!\*/).)*\*/ | --[^\n]*\n )*+
        (?: (?: SELECT | SHOW | SET | RESET | EXPLAIN | DESCRIBE | PRAGMA | VALUES
              | TABLE | BEGIN | SAVEPOINT | RELEASE | ROLLBACK ) \b
          | WITH \b (?! .* \b (?: INSERT | UPDATE | DELETE | MERGE ) \b ) )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


@dataclass(kw_only=True)
class Owner:
    """Whoever may end the transaction of a session: a block or a burst.

    :param sends: The name of the model whose signals are being sent, if that is what
        the transaction is for. Nobody else may commit meanwhile.
    :param detaches_objects: Whether the commit leaves the session empty, and its
        objects as they are, instead of expired.
    """

    sends: str | None = None
    detaches_objects: bool = False
    is_committing: bool = False
    #: Whether somebody else has committed a part of the owner's work.
    was_committed: bool = False
    #: What others got for trying to commit though it is forbidden.
    violation: RuntimeError | None = None
    #: The first conflict that happened, whatever was made of it.
    conflict: DBAPIError | None = None
    #: The last violated constraint that another attempt may find satisfied.
    collision: DBAPIError | None = None

    def forbid_commit(self) -> None:
        """Keep somebody else from committing, if that is not allowed."""
        if self.sends is not None:
            self.violation = RuntimeError(
                f"A sender of '{self.sends}' must not commit the session; what it has"
                f" written is committed together with the deletion of its signals."
            )
            raise self.violation

    def lost_race(self, error: Exception) -> bool:
        """Tell whether an error means that all of the work can be repeated."""
        return error is self.conflict or isinstance(error, DBSerializationError)


@dataclass
class _Ledger:
    """What one transaction of a session has done on its connections."""

    owner: Owner | None
    wrote: bool = False
    conflict: DBAPIError | None = None
    #: The connections of the transaction, and the last error on each, if any.
    connections: dict[Connection, DBAPIError | None] = field(default_factory=dict)

    def note_conflict(self, error: DBAPIError) -> None:
        self.conflict = self.conflict or error
        if self.owner is not None:
            self.owner.conflict = self.owner.conflict or error

    def note_collision(self, error: DBAPIError) -> None:
        if self.owner is not None:
            self.owner.collision = error


def watch(session: scoped_session[Any]) -> None:
    """Keep account of what the transactions of a session do, from now on."""
    for name, listener in _SESSION_EVENTS.items():
        event.listen(session, name, listener)


def owner_of(session: Session | scoped_session[Any]) -> Owner | None:
    """Return the owner of the session's present transaction, if it has one."""
    owner: Owner | None = session.info.get(_OWNER)
    return owner


def has_uncommitted_work(session: scoped_session[Any]) -> bool:
    """Tell whether a rollback of the session would lose something."""
    ledger: _Ledger | None = session.info.get(_LEDGER)
    return bool(
        (ledger and ledger.wrote)
        or session.new
        or session.deleted
        or any(session.is_modified(instance) for instance in session.dirty)
    )


@contextmanager
def owned_transaction(session: scoped_session[Any], owner: Owner) -> Iterator[None]:
    """Own the transaction of the session; commit it at the end, or roll it back.

    A conflict that happened underway is raised even if the code in between made
    something else of it: the database may have rolled back the first half of
    the transaction, and would commit the second.
    """
    info = session.info
    info[_OWNER] = owner
    if (ledger := info.get(_LEDGER)) is not None:
        ledger.owner = owner
        owner.conflict = ledger.conflict
    try:
        yield
        session.flush()
        if owner.conflict is not None:
            raise owner.conflict
        if (ledger := info.get(_LEDGER)) is not None:
            _raise_what_aborted(ledger)
            # When one of several commits fails, others may have succeeded.
            owner.was_committed = owner.was_committed or len(ledger.connections) > 1
        owner.is_committing = True
        session.commit()
    except BaseException as error:
        _roll_back(session)
        if isinstance(error, Exception) and owner.conflict not in (None, error):
            raise owner.conflict from owner.conflict.orig
        raise
    finally:
        info.pop(_OWNER, None)


def _roll_back(session: scoped_session[Any]) -> None:
    """Roll back, whatever state the connection is in; raise nothing else instead."""
    try:
        session.rollback()
    except Exception:
        logger.warning("A transaction could not be rolled back.", exc_info=True)
        session().invalidate()


def _raise_what_aborted(ledger: _Ledger) -> None:
    """Raise an error that was caught, but has ended the transaction.

    PostgreSQL answers the COMMIT of an aborted transaction without an error.
    """
    for connection, error in ledger.connections.items():
        if error is not None and not _is_alive(connection):
            raise error from error.orig
        if _is_aborted(connection):
            raise RuntimeError(
                "The transaction has been aborted by an error on a cursor of the"
                " driver; nothing of it has been committed. Let the error pass."
            )


def _is_aborted(connection: Connection) -> bool:
    """Tell what psycopg2 and psycopg know, without asking the server."""
    info = getattr(connection.connection.driver_connection, "info", None)
    return getattr(info, "transaction_status", None) == _IN_ERROR


def _is_alive(connection: Connection) -> bool:
    try:
        connection.scalar(select(literal(1)))
    except DBAPIError:
        return False

    if traits_of(connection.dialect).begin is None:
        return True

    # SQLite may have rolled back for itself (ON CONFLICT ROLLBACK, disk full).
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction or driver.isolation_level is not None)


def _open_ledger(
    session: Session, transaction: SessionTransaction, connection: Connection
) -> None:
    ledger = session.info.get(_LEDGER)
    if ledger is None:
        ledger = session.info[_LEDGER] = _Ledger(session.info.get(_OWNER))
    ledger.connections.setdefault(connection, None)
    _watch_engine(connection.engine)
    # The engine's events find the ledger by way of the driver's connection,
    # which serves one transaction at a time.
    connection.info[_LEDGER] = ledger


def _watch_engine(engine: Engine) -> None:
    # Not 'event.contains', which takes a new engine for one that is gone if it lies
    # at the same address.
    if not engine.get_execution_options().get(_WATCHED):
        for name, listener in _ENGINE_EVENTS.items():
            event.listen(engine, name, listener)
        engine.update_execution_options(**{_WATCHED: True})


def _close_ledger(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and _LEDGER in session.info:
        # The driver's connection still refers to it, and will serve others.
        session.info.pop(_LEDGER).owner = None


def _guard_commit(session: Session) -> None:
    owner: Owner | None = session.info.get(_OWNER)
    if owner is None or owner.is_committing or session.in_nested_transaction():
        return
    if owner.conflict is not None:
        raise owner.conflict

    owner.forbid_commit()


def _guard_driver_commit(connection: Connection) -> None:
    """Guard against a commit that passes by the session."""
    owner = _ledger_of(connection).owner
    if owner is not None and not owner.is_committing:
        owner.forbid_commit()
        owner.was_committed = True


def _note_commit(session: Session) -> None:
    owner: Owner | None = session.info.get(_OWNER)
    if owner is None or session.in_nested_transaction():
        return
    if not owner.is_committing:
        owner.was_committed = True
    elif owner.detaches_objects:
        # The objects of the session would expire next.
        session.expunge_all()


def _note_write(
    connection: Connection, cursor: object, statement: str, *_: object
) -> None:
    ledger = _ledger_of(connection)
    ledger.wrote = ledger.wrote or not _only_reads(statement)


@lru_cache
def _only_reads(statement: str) -> bool:
    return _READ.match(statement) is not None


def _note_error(context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError) or context.connection is None:
        return

    traits = traits_of(context.dialect)
    ledger = _ledger_of(context.connection)
    ledger.connections[context.connection] = error
    if is_conflict(error, traits):
        ledger.note_conflict(error)
    elif is_collision(error, traits):
        ledger.note_collision(error)


def _ledger_of(connection: Connection) -> _Ledger:
    return connection.info.get(_LEDGER) or _Ledger(owner=None)


_ENGINE_EVENTS: dict[str, Callable[..., None]] = {
    "after_cursor_execute": _note_write,
    "commit": _guard_driver_commit,
    "handle_error": _note_error,
}
_SESSION_EVENTS: dict[str, Callable[..., None]] = {
    "after_begin": _open_ledger,
    "after_transaction_end": _close_ledger,
    "before_commit": _guard_commit,
    "after_commit": _note_commit,
}
