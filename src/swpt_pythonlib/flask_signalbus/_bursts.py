"""One burst of signals: claim, delete, send, commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, delete
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import scoped_session

from ._deletions import Rows
from ._dialects import has_code, is_conflict, is_server_fault, traits_of
from ._drivers import begin_really, without_prepared_statements
from ._keys import Key
from ._models import SignalTable
from ._reflection import schema_on
from ._retry import RetryPolicy
from ._senders import ends_the_call, is_sent_in_bulk, send
from ._sessions import Record, current, has_uncommitted_work, owned_transaction
from ._transactions import Attempt
from .exceptions import SignalsRefused

T = TypeVar("T")

# How often a burst is sent when its sender reports a serialization conflict: some of
# the signals may be out already.
_SENDS = 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a pass finds its signals, and how.

    :param signals: The table of the signals.
    :param session: The application's session, on which the sender runs.
    :param connection: The connection of the whole pass.
    :param policy: How patiently a transaction that lost a race is retried.
    """

    signals: SignalTable
    session: scoped_session[Any]
    connection: Connection
    policy: RetryPolicy

    def join(self) -> None:
        """Have the session work on our connection, in one transaction.

        What listens to the session's transactions, to set a tenant for instance, is
        told of this one.
        """
        self.session.connection(bind_arguments={"bind": self.connection})
        begin_really(self.connection)

    def version(self) -> object:
        """Return what changes when others write, if the database tells it."""
        query = traits_of(self.connection.dialect).data_version
        if query is None:
            return None

        quote = self.connection.dialect.identifier_preparer.quote
        schema = schema_on(self.connection, self.signals.table) or "main"
        return self.connection.exec_driver_sql(query.format(quote(schema))).scalar()


class Query(Attempt[T]):
    """A query in a transaction of its own, so that no lock or snapshot stays."""

    def __init__(self, source: Source, read: Callable[[Connection], T]) -> None:
        self._source = source
        self._read = read

    def work(self) -> T:
        """Read what the session sees."""
        self._source.join()
        transaction = current(self._source.session).get_transaction()
        try:
            return self._read(self._source.connection)
        finally:
            # Nothing has been written: whoever listens to commits need not be told,
            # and no object need expire.
            if transaction is not None:
                transaction.close()

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if there was a serialization conflict."""
        assert self.error is not None
        traits = traits_of(self._source.connection.dialect)
        return self._source.policy if is_conflict(self.error, traits) else None


class Burst(Attempt[Rows]):
    """Signals that are sent in one transaction.

    :param claim: Claims the signals, and deletes them.
    """

    def __init__(self, source: Source, claim: Callable[[Connection], Rows]) -> None:
        self._source = source
        self._claim = claim
        self._record = Record(sends=source.signals.name)
        self._sent = 0
        #: The signals that have been claimed, whatever has become of them.
        self.rows: Rows = ()
        #: Whether the senders have changed something in the session.
        self._has_written = False
        #: The version of the data when they failed.
        self.version: object = object()
        #: The transaction that somebody else has begun on the connection.
        self._outer = source.connection.get_transaction()

    def run(self) -> None:
        """Do the work; keep its result, or the error."""
        try:
            super().run()
        except BaseException as error:
            # Clients cancel what they wait for by errors that are no exceptions.
            if not self._is_sending or ends_the_call(error):
                raise
            self.error = error

        if self.error is not None and self._has_lost_outer:
            self.error.add_note(
                "The transaction that was open on the connection in the engine's place"
                " has been rolled back, with all signals that were recorded in it. Give"
                " the session the option join_transaction_mode='create_savepoint'."
            )

    def work(self) -> Rows:
        """Claim, delete, send, commit."""
        source = self._source
        with owned_transaction(source.session, self._record):
            source.join()
            check = self._transaction_check()
            self.rows = self._claim(source.connection)
            self._send(check)

        return self.rows

    @property
    def keys(self) -> list[Key]:
        """The primary keys of the claimed signals, in their order."""
        return [self._source.signals.key_of(row) for row in self.rows]

    @property
    def confirmed(self) -> Rows:
        """The signals of a failed burst that are known to have been sent.

        None are known if the sender has written something: that has been rolled back,
        and is written when they are sent again.
        """
        if self._has_written or not self._is_sending:
            return ()
        # A single sender knows nothing of the signals that come after its own.
        if isinstance(self.error, SignalsRefused) and is_sent_in_bulk(
            self._source.signals.model, self.rows
        ):
            return self._all_but(self.error.refused)

        return self.rows[: self._sent]

    def _all_but(self, refused: list[Any]) -> Rows:
        refused_ids = set(map(id, refused))
        confirmed = [row for row in self.rows if id(row) not in refused_ids]
        # What names no signal of the burst says nothing of the others.
        is_sound = len(confirmed) + len(refused_ids) == len(self.rows)
        return confirmed if is_sound else ()

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if nothing stands in the way of another attempt."""
        # When the commit fails, or some of them are known to have been sent, another
        # attempt would send signals again.
        if self._record.is_committing or not self.lost_race or self.confirmed:
            return None

        policy = self._source.policy
        return (
            replace(policy, attempts=min(policy.attempts, _SENDS))
            if self._is_sending
            else policy
        )

    @property
    def is_hopeless(self) -> bool:
        """Whether no signal in particular is to blame for the error."""
        connection = self._source.connection
        return (
            self._record.violation is not None
            # A new connection would not be prepared for bursts.
            or connection.invalidated
            or self._has_lost_outer
            or not (self._is_sending or self._may_be_signals_fault)
        )

    @property
    def _may_be_signals_fault(self) -> bool:
        """Whether one row may be why the database has refused the burst."""
        assert self.error is not None
        if self._record.is_committing:
            return isinstance(self.error, IntegrityError)

        traits = traits_of(self._source.connection.dialect)
        return not (self.lost_race or is_server_fault(self.error, traits))

    @property
    def lost_race(self) -> bool:
        """Whether a serialization conflict is the reason of the failure."""
        return self.error is not None and self._record.lost_race(self.error)

    @property
    def _has_lost_outer(self) -> bool:
        return self._outer is not None and not self._outer.is_active

    @property
    def _is_sending(self) -> bool:
        return bool(self.rows) and not self._record.is_committing

    def _send(self, check: Callable[[], None]) -> None:
        def note_call(count: int) -> None:
            check()
            self._sent += count

        # From now on, only a sender writes.
        self._record.wrote = False
        try:
            send(self._source.signals.model, self.rows, after_each_call=note_call)
        except BaseException as error:
            if not ends_the_call(error):
                self._note_version()
            raise
        finally:
            # Also if the sender succeeds: its writes may be refused later.
            self._has_written = has_uncommitted_work(self._source.session)

    def _note_version(self) -> None:
        # If it cannot be read, the rollback tells what is wrong.
        with suppress(SQLAlchemyError):
            self.version = self._source.version()

    def _transaction_check(self) -> Callable[[], None]:
        """Return a check that the transaction has not been ended by a sender."""
        session, connection = self._source.session, self._source.connection
        transaction = current(session).get_transaction()
        root = connection.get_transaction()

        def check() -> None:
            if (
                current(session).get_transaction() is not transaction
                or connection.get_transaction() is not root
                or not (root and root.is_active)
            ):
                self._record.violation = self._record.violation or RuntimeError(
                    f"A sender of '{self._source.signals.name}' has ended the"
                    f" transaction in which its signals are deleted. It must neither"
                    f" commit nor roll back the session; the signals are still pending."
                )
            if self._record.violation is not None:
                raise self._record.violation

        return check


class Settlement(Attempt[int]):
    """The deletion of signals that have been sent by a burst that failed afterwards.

    :param claim_only: Deletes the signal with a key, unless somebody else holds it.
    :param confirmed: The signals that have been sent.
    :param version: The version of the data when they were sent.
    """

    def __init__(
        self,
        source: Source,
        claim_only: Callable[[Connection, Key], Rows],
        confirmed: Rows,
        version: object,
    ) -> None:
        self._source = source
        self._claim_only = claim_only
        self._confirmed = confirmed
        self._version = version
        self._record = Record(sends=source.signals.name)
        #: The signals that another one may have taken the place of in the meantime.
        self.doubtful: Rows = ()

    def work(self) -> int:
        """Delete the signals by their keys; return how many were still there.

        :raises RuntimeError: If some of them are doubtful. Nothing is deleted then.
        """
        source = self._source
        with owned_transaction(source.session, self._record):
            source.join()
            found = [self._delete(row) for row in self._confirmed]
            self.doubtful = self._doubtful_among(found)
            if self.doubtful:
                raise RuntimeError(
                    f"Signals of '{source.signals.name}' may have been replaced by"
                    f" others with the same primary keys after they were sent."
                )

        return sum(map(len, found))

    def _delete(self, row: Row[Any]) -> Rows:
        key = self._source.signals.key_of(row)
        return self._claim_only(self._source.connection, key)

    def _doubtful_among(self, found: list[Rows]) -> Rows:
        # Where keys are used again, another signal may have the same values too.
        version = self._source.version()
        if any(found) and version is not None and version != self._version:
            return self._confirmed

        pairs = zip(self._confirmed, found, strict=True)
        return [row for row, now in pairs if now and not _is_same(row, now[0])]

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if it lost a race."""
        lost_race = self.error is not None and self._record.lost_race(self.error)
        return self._source.policy if lost_race else None


def _is_same(row: Row[Any], other: Row[Any]) -> bool:
    """Tell whether two rows certainly have the same values."""
    try:
        pairs = zip(row, other, strict=True)
        # What differs from itself is not a number.
        return all(a == b or (a != a and b != b) for a, b in pairs)
    except Exception:
        # Values of the application's own types need not be comparable.
        return False


@contextmanager
def connection_for_bursts(bind: Engine | Connection) -> Iterator[Connection]:
    """Check out one connection for a whole pass, and prepare it for its bursts.

    :param bind: A connection is used as it is: whoever has put it in the place of the
        engine wants to roll back what happens on it.
    """
    if isinstance(bind, Connection):
        yield bind
        return

    traits = traits_of(bind.dialect)
    with bind.connect() as connection:
        if traits.flush_isolation_level is not None:
            # Until the connection is returned to the pool.
            connection = connection.execution_options(
                isolation_level=traits.flush_isolation_level
            )
        with without_prepared_statements(connection):
            try:
                yield connection
            except DBAPIError as error:
                if has_code(error.orig, traits.demoted):
                    # The address may lead to another server in the meantime.
                    connection.invalidate(error)
                raise


def bind_for_writes(
    session: scoped_session[Any], signals: SignalTable
) -> Engine | Connection:
    """Return where the session writes to the table: reads may go to a replica.

    :raises TypeError: If that is neither an engine nor a connection.
    """
    # The registry would also pass arguments that an application's 'get_bind' need not
    # know: in SQLAlchemy's recipe for replicas there are these two.
    bind = current(session).get_bind(signals.model, clause=delete(signals.table))
    if isinstance(bind, Engine | Connection):
        return bind

    raise TypeError(
        f"Signals of '{signals.name}' cannot be flushed: 'get_bind' of the session must"
        f" return an engine or a connection, got {bind!r}."
    )
