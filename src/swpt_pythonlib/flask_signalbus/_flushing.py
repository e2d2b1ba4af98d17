"""A pass over the pending signals of a model: burst after burst, and what fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import scoped_session

from ._bursts import Burst
from ._deletions import Rows
from ._flushable import burst_size, signal_table_of
from ._keys import Key
from ._models import Model, SignalTable
from ._reflection import forget_facts
from ._retry import RetryPolicy
from ._settlements import Settlement
from ._sources import Query, Source, bind_for_writes, connection_for_bursts
from ._statements import KeyRange, SignalStatements, statements_on
from ._tallies import PassTally, Tally
from ._transactions import Attempt, retry

T = TypeVar("T")
A = TypeVar("A", bound=Attempt[Any])

# After this many failures in a row a pass asks a sample of the rest whether it
# is the signals or the broker. Both together make about ten attempts.
_FAILURES_IN_A_ROW = 5
_SAMPLE_SIZE = 4
_SAMPLED_KEYS = 10_000


@dataclass(frozen=True)
class Plan:
    """What is known to be right about a model before anything is sent.

    :param signals: The table of the signals.
    :param burst_size: How many signals are sent in one transaction.
    """

    signals: SignalTable
    burst_size: int


def plan_of(model: Model) -> Plan:
    """Look at a model that is to be flushed.

    :raises ValueError: If it asks for an impossible burst.
    :raises RuntimeError: If its signals do not lie in exactly one table.
    """
    return Plan(signal_table_of(model), burst_size(model))


def flush(
    plan: Plan, session: scoped_session[Any], policy: RetryPolicy, tally: Tally
) -> None:
    """Send the signals of a model that are pending now.

    What fails is noted in the tally. A burst that fails is no reason to stop as long as
    other signals get through.

    :param session: The application's session, on which the sender runs.
    :param policy: How patiently a burst that lost a race is retried.
    :param tally: Where the pass notes what it has done.
    :raises Stopped: If the tally is told to stop.
    """

    def look(connection: Connection) -> tuple[Key | None, SignalStatements]:
        return statements_on(connection, signals).look(connection)

    signals = plan.signals
    with (
        tally.a_pass(signals.model, session) as counts,
        connection_for_bursts(bind_for_writes(session, signals)) as connection,
    ):
        source = Source(
            signals=signals, session=session, connection=connection, policy=policy
        )
        newest, statements = _retry(lambda: Query(source, look), counts).result()
        if newest is not None:
            source = replace(source, signals=statements.signals)
            try:
                _Pass(source, statements, plan.burst_size, counts).run(newest)
            except (DBAPIError, ValueError):
                # The index may be gone that the statements name, or a label be new.
                forget_facts(connection)
                raise


def _retry(begin: Callable[[], A], counts: PassTally) -> A:
    """Make attempts as 'retry' does, but none when the flush is told to stop."""

    def begin_unless_stopped() -> A:
        counts.check_stop()
        return begin()

    return retry(begin_unless_stopped)


class _Pass:
    """A pass over the signals that are pending when it begins."""

    def __init__(
        self,
        source: Source,
        statements: SignalStatements,
        burst_size: int,
        counts: PassTally,
    ) -> None:
        self._source = source
        self._name = source.signals.name
        self._statements = statements
        self._size = burst_size
        self._counts = counts
        self._failures_in_a_row = 0

    def run(self, newest: Key) -> None:
        """Send the signals, burst by burst, in the order of the primary key.

        :param newest: The last key; what comes after it is left for the next pass.
        """
        keys: KeyRange | None = KeyRange(None, newest)
        while keys:
            keys = self._advance(keys)

    def _advance(self, keys: KeyRange) -> KeyRange | None:
        """Send the first burst of a range; return what is left to be sent then."""
        burst = self._flush(
            partial(self._statements.claim, keys=keys, limit=self._size)
        )
        if burst.error is not None:
            return self._advance_one_by_one(keys, burst, burst.error)
        if len(burst.rows) < self._size:
            return None

        return keys.rest_after(self._source.signals.key_of(burst.rows[-1]))

    def _flush(self, claim: Callable[[Connection], Rows]) -> Burst:
        """Send a burst, again if it lost a race; return the last attempt.

        :raises Exception: What would make every burst fail.
        """
        started = time.monotonic()
        burst = _retry(lambda: Burst(self._source, claim), self._counts)
        if burst.error is not None:
            if burst.is_hopeless:
                self._counts.in_hand = len(burst.rows)
                raise burst.error
            return burst

        self._note_sent(len(burst.rows), started)
        return burst

    def _advance_one_by_one(
        self, keys: KeyRange, burst: Burst, error: BaseException
    ) -> KeyRange | None:
        """Find out which signals of a failed burst can be sent without the others."""
        suspects = burst.keys or self._peek(keys, self._size)
        if not suspects:
            raise error

        # Before anybody is told: what a receiver of the hook writes would make it
        # doubtful which signals have been sent.
        done = self._settle(burst)
        has_failed_alone = len(suspects) == 1
        if has_failed_alone:
            self._note_failure(suspects[0], error)
        elif not (burst.lost_race and burst.confirmed):
            count = len(suspects)
            message = "Failed to send %d signals of %s at once."
            self._counts.note_error(error, message, count, self._name, count=count)

        for key in suspects:
            if not has_failed_alone and key not in done:
                self._send_alone(key)
            rest = keys.rest_after(key)
            if rest is None or not self._is_worth_going_on(rest):
                return None

        return rest

    def _settle(self, burst: Burst) -> set[Key]:
        """Delete what a failed burst has sent; return the keys not to be sent again.

        Somebody else may hold some of it now. It is theirs then.
        """
        started = time.monotonic()
        claim_only, version = self._statements.claim_only, burst.version
        confirmed = burst.confirmed
        while confirmed:
            settle = partial(Settlement, self._source, claim_only, confirmed, version)
            settlement = retry(settle)
            if settlement.error is None:
                self._note_sent(settlement.result(), started)
                break
            if not settlement.doubtful:
                self._note_unsettled(settlement.error, len(confirmed))
                return set()

            # They are sent again, rather than deleted without having been sent.
            doubtful = set(map(id, settlement.doubtful))
            confirmed = [row for row in confirmed if id(row) not in doubtful]

        return set(map(self._source.signals.key_of, confirmed))

    def _note_unsettled(self, error: BaseException, count: int) -> None:
        message = "Failed to delete %d signals of %s that have been sent."
        self._counts.note_error(error, message, count, self._name, count=count)

    def _send_alone(self, key: Key) -> bool:
        """Send a signal in a burst of its own; tell whether it could be sent."""
        burst = self._flush(partial(self._statements.claim_only, key=key))
        if burst.error is not None:
            self._note_failure(key, burst.error)

        return burst.error is None and bool(burst.rows)

    def _note_sent(self, count: int, started: float) -> None:
        self._counts.note_sent(count, time.monotonic() - started)
        if count:
            self._failures_in_a_row = 0

    def _note_failure(self, key: Key, error: BaseException) -> None:
        self._failures_in_a_row += 1
        self._counts.note_failure(error, key)

    def _is_worth_going_on(self, rest: KeyRange) -> bool:
        """Tell a row of bad signals from a broker that takes none at all."""
        if self._failures_in_a_row < _FAILURES_IN_A_ROW:
            return True
        if any(map(self._send_alone, self._sample(rest))):
            return True

        self._counts.give_up()
        return False

    def _sample(self, rest: KeyRange) -> list[Key]:
        keys = self._peek(rest, _SAMPLED_KEYS)
        sample = random.sample(keys, min(len(keys), _SAMPLE_SIZE))
        # The last one speaks for what lies beyond the sampled range.
        return sample if rest.last in sample or not keys else [*sample, rest.last]

    def _peek(self, keys: KeyRange, limit: int) -> list[Key]:
        return self._read(partial(self._statements.peek, keys=keys, limit=limit))

    def _read(self, query: Callable[[Connection], T]) -> T:
        return retry(lambda: Query(self._source, query)).result()
