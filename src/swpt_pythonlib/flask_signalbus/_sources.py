"""Where a pass finds its signals: what the session sees, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, delete
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session

from ._dialects import traits_of
from ._drivers import begin_really, without_prepared_statements
from ._errors import has_code, is_conflict
from ._models import SignalTable
from ._retry import RetryPolicy
from ._sessions import current
from ._transactions import Attempt

T = TypeVar("T")


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

    def join(self) -> Session:
        """Have the session work on our connection, in one transaction.

        What listens to the session's transactions, to set a tenant for instance, is
        told of this one.
        """
        session = current(self.session)
        session.connection(bind_arguments={"bind": self.connection})
        begin_really(self.connection)
        return session

    def version(self) -> object:
        """Return what changes when others write, if the database tells it."""
        query = traits_of(self.connection.dialect).data_version
        if query is None:
            return None

        quote = self.connection.dialect.identifier_preparer.quote
        schema = self.connection.schema_for_object(self.signals.table) or "main"
        return self.connection.exec_driver_sql(query.format(quote(schema))).scalar()


class Query(Attempt[T]):
    """A query in a transaction of its own, so that no lock or snapshot stays."""

    def __init__(self, source: Source, read: Callable[[Connection], T]) -> None:
        self._source = source
        self._read = read

    def work(self) -> T:
        """Read what the session sees."""
        transaction = self._source.join().get_transaction()
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
