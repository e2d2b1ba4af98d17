"""One burst of signals: claim, delete, send, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from ._deletions import Rows
from ._dialects import traits_of
from ._errors import ends_the_call, is_server_fault
from ._keys import Key
from ._retry import RetryPolicy
from ._senders import is_sent_in_bulk, send
from ._sessions import Record, current, has_uncommitted_work, owned_transaction
from ._sources import Source
from ._transactions import Attempt
from .exceptions import SignalsRefused

# How often a burst is sent when its sender reports a serialization conflict: some of
# the signals may be out already.
_SENDS = 4


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
            check = self._transaction_check(source.join())
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

    def _transaction_check(self, joined: Session) -> Callable[[], None]:
        """Return a check that the transaction has not been ended by a sender."""
        session, connection = self._source.session, self._source.connection
        transaction = joined.get_transaction()
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
