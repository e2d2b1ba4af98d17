"""Send what is pending: claim, delete, send, commit, and on to the next burst."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import scoped_session

from ._dialects import is_conflict, traits_of
from ._flushable import burst_size, signal_table_of
from ._keys import Key
from ._models import Model
from ._retry import RetryPolicy
from ._senders import send
from ._sessions import Owner, owned_transaction
from ._statements import KeyRange, Rows, statements_of
from ._transactions import retry

T = TypeVar("T")

logger = logging.getLogger(__name__)

# After this many failures in a row a pass asks a sample of the rest whether it
# is the signals or the broker. Both together make about ten attempts.
_FAILURES_IN_A_ROW = 5
_SAMPLE_SIZE = 4
_SAMPLED_KEYS = 10_000
# How often a burst is sent again because its sender reports a conflict.
_RESENDS = 3


@dataclass
class Tally:
    """What a flush has done so far."""

    sent: int = 0
    first_error: Exception | None = None

    def add_error(self, error: Exception, message: str, *args: object) -> None:
        """Log an error, without its traceback if it is the one to be raised."""
        is_first = self.first_error is None
        self.first_error = self.first_error or error
        logger.error(message, *args, exc_info=None if is_first else error)


@dataclass
class _Attempt:
    """How far the last attempt at a burst has come."""

    owner: Owner
    rows: Rows = ()


class ModelFlush:
    """A pass over the signals of one model that are pending when it begins.

    :param model: The signal model.
    :param session: The application's session, on which the sender runs.
    :param policy: How patiently a burst that lost a race is repeated.
    :param tally: Where the pass notes what it has done.
    :raises ValueError: If the model asks for an impossible burst.
    :raises RuntimeError: If its signals do not lie in exactly one table.
    """

    def __init__(
        self,
        model: Model,
        session: scoped_session[Any],
        *,
        policy: RetryPolicy,
        tally: Tally,
    ) -> None:
        self._model = model
        self._session = session
        self._policy = policy
        self._tally = tally
        self._table = signal_table_of(model)
        self._size = burst_size(model)
        self._failures_in_a_row = 0

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._table.name

    def run(self) -> None:
        """Send the signals, burst by burst, in the order of the primary key.

        A burst that fails is noted in the tally, and is no reason to stop as
        long as other signals get through.

        :raises Exception: What would make every burst fail.
        """
        logger.info("Flushing %s.", self.name)
        engine = self._session.get_bind(self._model).engine
        with connection_for_bursts(engine) as connection:
            self._connection = connection
            self._statements = statements_of(self._table, connection.dialect)
            newest = self._read(self._statements.newest_key)
            span = newest and KeyRange(None, newest)
            while span:
                span = self._advance(span)

    def _advance(self, span: KeyRange) -> KeyRange | None:
        """Send the first burst of a span; return what then is left to be sent."""
        try:
            rows = self._flush_burst(self._statements.claim, span, self._size)
        except Exception as error:
            return self._advance_one_by_one(span, error)

        if len(rows) < self._size:
            return None

        return span.rest_after(self._table.key_of(rows[-1]))

    def _flush_burst(self, claim: Callable[..., Rows], *which: Any) -> Rows:
        """Claim, delete, send, commit."""
        self._resends = 0
        rows = retry(
            lambda: self._attempt(claim, *which),
            is_retryable=self._is_retryable,
            policy=self._policy,
        )
        logger.debug("Sent a burst of %d signals of %s.", len(rows), self.name)
        self._tally.sent += len(rows)
        if rows:
            self._failures_in_a_row = 0

        return rows

    def _attempt(self, claim: Callable[..., Rows], *which: Any) -> Rows:
        self._last = _Attempt(Owner(sends=self.name))
        with owned_transaction(self._session, self._last.owner):
            check = self._join()
            self._last.rows = claim(self._connection, *which)
            send(self._model, self._last.rows, after_each_call=check)

        return self._last.rows

    def _join(self) -> Callable[[], None]:
        """Make the session work on our connection, in the burst's transaction.

        :return: A check that the transaction is still the same.
        """
        session = self._session()
        session.connection(bind_arguments={"bind": self._connection})
        _begin_really(self._connection)
        transaction = session.get_transaction()
        root = self._connection.get_transaction()

        def check() -> None:
            owner = self._last.owner
            if (
                self._session().get_transaction() is not transaction
                or self._connection.get_transaction() is not root
                or not (root and root.is_active)
            ):
                owner.violation = owner.violation or RuntimeError(
                    f"A sender of '{self.name}' has ended the transaction in which"
                    f" its signals are deleted. It must neither commit nor roll back"
                    f" the session; the signals are still pending."
                )
            if owner.violation is not None:
                raise owner.violation

        return check

    def _is_retryable(self, error: Exception) -> bool:
        owner = self._last.owner
        # When the commit fails, the signals have been sent already.
        if owner.is_committing or not owner.lost_race(error):
            return False

        # A sender that reports a conflict may have sent some of the signals.
        self._resends += bool(self._last.rows)
        return self._resends <= _RESENDS

    def _is_hopeless(self, error: Exception) -> bool:
        """Tell whether no signal in particular is to blame for an error."""
        owner = self._last.owner
        is_sending = bool(self._last.rows) and not owner.is_committing
        return (
            owner.violation is not None
            or (owner.lost_race(error) and not is_sending)
            # A new connection would not be prepared for bursts.
            or self._connection.invalidated
        )

    def _advance_one_by_one(self, span: KeyRange, error: Exception) -> KeyRange | None:
        """Find out which signals of a failed burst can be sent without the others."""
        if self._is_hopeless(error):
            raise error

        keys = [self._table.key_of(row) for row in self._last.rows]
        keys = keys or self._read(self._statements.peek, span, self._size)
        if not keys:
            raise error

        has_failed_alone = len(keys) == 1
        if has_failed_alone:
            self._note_failure(keys[0], error)
        else:
            self._tally.add_error(
                error, "Failed to send %d signals of %s at once.", len(keys), self.name
            )

        for key in keys:
            if not has_failed_alone:
                self._try_alone(key)
            rest = span.rest_after(key)
            if rest is None or not self._is_worth_going_on(rest):
                return None

        return rest

    def _try_alone(self, key: Key) -> bool:
        """Tell whether a signal could be sent in a burst of its own."""
        try:
            return bool(self._flush_burst(self._statements.claim_one, key))
        except Exception as error:
            if self._is_hopeless(error):
                raise

            self._note_failure(key, error)
            return False

    def _note_failure(self, key: Key, error: Exception) -> None:
        self._failures_in_a_row += 1
        self._tally.add_error(
            error,
            "Failed to send the signal of %s with primary key %r.",
            self.name,
            key,
        )

    def _is_worth_going_on(self, rest: KeyRange) -> bool:
        """Tell a row of bad signals from a broker that takes none at all."""
        if self._failures_in_a_row < _FAILURES_IN_A_ROW:
            return True
        if any(map(self._try_alone, self._sample(rest))):
            return True

        logger.error("Gave up on %s for now; nothing gets through.", self.name)
        return False

    def _sample(self, rest: KeyRange) -> list[Key]:
        keys = self._read(self._statements.peek, rest, _SAMPLED_KEYS)
        sample = random.sample(keys, min(len(keys), _SAMPLE_SIZE))
        # The last one speaks for what lies beyond the sampled range.
        return sample if rest.last in sample or not keys else [*sample, rest.last]

    def _read(self, query: Callable[..., T], *which: Any) -> T:
        """Make a query in a transaction of its own, for no lock or snapshot to stay."""

        def attempt() -> T:
            with self._connection.begin():
                return query(self._connection, *which)

        return retry(
            attempt,
            is_retryable=lambda error: is_conflict(error, self._statements.traits),
            policy=self._policy,
        )


@contextmanager
def connection_for_bursts(engine: Engine) -> Iterator[Connection]:
    """Check out one connection for a whole pass, and prepare it for its bursts."""
    with engine.connect() as connection:
        level = traits_of(engine.dialect).flush_isolation_level
        if level is not None:
            # Until the connection is returned to the pool.
            connection = connection.execution_options(isolation_level=level)

        with _without_prepared_statements(connection):
            yield connection


@contextmanager
def _without_prepared_statements(connection: Connection) -> Iterator[None]:
    """Have each statement planned for the table as it is.

    psycopg 3 prepares a repeated statement, and PostgreSQL may keep a plan that
    it made while the table was empty: a scan of the whole table, each burst.
    """
    driver: Any = connection.connection.driver_connection
    if not hasattr(driver, "prepare_threshold"):
        yield
        return

    threshold, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        yield
    finally:
        driver.prepare_threshold = threshold


def _begin_really(connection: Connection) -> None:
    """Begin a transaction where the driver would commit each statement by itself.

    On SQLite an engine can be configured so, and no isolation level would bring
    its transactions back without changing the connection for good.
    """
    begin = traits_of(connection.dialect).begin
    if begin is None:
        return

    driver: Any = connection.connection.driver_connection
    if getattr(driver, "autocommit", None) is True or getattr(
        connection.dialect, "skip_autocommit_rollback", False
    ):
        raise RuntimeError(
            "Signals can not be flushed on connections that never roll back; remove"
            " 'autocommit' or 'skip_autocommit_rollback' from the engine's options."
        )
    if driver.isolation_level is None and not driver.in_transaction:
        connection.exec_driver_sql(begin)
