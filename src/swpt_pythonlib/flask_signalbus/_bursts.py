"""One burst of signals: claim, delete, send, commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import scoped_session

from ._deletions import Rows
from ._dialects import is_conflict, traits_of
from ._drivers import begin_really, without_prepared_statements
from ._keys import Key
from ._models import SignalTable
from ._retry import RetryPolicy
from ._senders import send
from ._sessions import Record, owned_transaction
from ._transactions import Attempt

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


class Burst(Attempt[Rows]):
    """Signals that are sent in one transaction.

    :param claim: Claims the signals, and deletes them.
    """

    def __init__(self, source: Source, claim: Callable[[Connection], Rows]) -> None:
        self._source = source
        self._claim = claim
        self._record = Record(sends=source.signals.name)
        #: The signals that have been claimed, whatever has become of them.
        self.rows: Rows = ()

    def work(self) -> Rows:
        """Claim, delete, send, commit."""
        source = self._source
        with owned_transaction(source.session, self._record):
            check = self._join_session()
            self.rows = self._claim(source.connection)
            send(source.signals.model, self.rows, after_each_call=check)

        return self.rows

    @property
    def keys(self) -> list[Key]:
        """The primary keys of the claimed signals, in their order."""
        return [self._source.signals.key_of(row) for row in self.rows]

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if nothing stands in the way of another attempt."""
        # When the commit fails, the signals have been sent already.
        if self._record.is_committing or not self._lost_race:
            return None

        policy = self._source.policy
        return (
            replace(policy, attempts=min(policy.attempts, _SENDS))
            if self._was_sending
            else policy
        )

    @property
    def is_hopeless(self) -> bool:
        """Whether no signal in particular is to blame for the error."""
        return (
            self._record.violation is not None
            or (self._lost_race and not self._was_sending)
            # A new connection would not be prepared for bursts.
            or self._source.connection.invalidated
        )

    @property
    def _lost_race(self) -> bool:
        return self.error is not None and self._record.lost_race(self.error)

    @property
    def _was_sending(self) -> bool:
        return bool(self.rows) and not self._record.is_committing

    def _join_session(self) -> Callable[[], None]:
        """Make the session work on our connection, in the burst's transaction.

        :return: A check that the transaction is still the same.
        """
        session, connection = self._source.session(), self._source.connection
        session.connection(bind_arguments={"bind": connection})
        begin_really(connection)
        transaction = session.get_transaction()
        root = connection.get_transaction()

        def check() -> None:
            if (
                self._source.session().get_transaction() is not transaction
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


class Query(Attempt[T]):
    """A query in a transaction of its own, so that no lock or snapshot stays."""

    def __init__(self, source: Source, read: Callable[[Connection], T]) -> None:
        self._source = source
        self._read = read

    def work(self) -> T:
        """Read in a transaction."""
        with self._source.connection.begin():
            return self._read(self._source.connection)

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if there was a serialization conflict."""
        assert self.error is not None
        traits = traits_of(self._source.connection.dialect)
        return self._source.policy if is_conflict(self.error, traits) else None


@contextmanager
def connection_for_bursts(engine: Engine) -> Iterator[Connection]:
    """Check out one connection for a whole pass, and prepare it for its bursts."""
    with engine.connect() as connection:
        level = traits_of(engine.dialect).flush_isolation_level
        if level is not None:
            # Until the connection is returned to the pool.
            connection = connection.execution_options(isolation_level=level)

        with without_prepared_statements(connection):
            yield connection
