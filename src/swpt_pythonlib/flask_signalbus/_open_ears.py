"""An ear that stays open: its connection is made again when it is lost, or too old."""

from __future__ import annotations

from collections.abc import Sequence
from logging import DEBUG, WARNING
from time import monotonic

from sqlalchemy import Connection, Engine

from ._dialects import traits_of
from ._drivers import close_at_once, hears_rings, prepare_nothing
from ._ears import LISTENING_PAUSE, Ear, Listening, Probing, Watching
from ._logs import logger
from ._models import SignalTable

#: How soon to connect again, after a failure, and after many in a row.
_CONNECTING_PAUSES = (0.5, 30.0)
#: A connection that has died without a word, or that is still open to a server that is
#: no longer the one, is as silent as any other. It is replaced after so many seconds.
_LONGEST_TRUST = 300.0


class OpenEar:
    """An ear on a connection of its own, which is opened again when it is lost.

    It never raises. While the database cannot be reached, it hears nothing.

    :param tables: The tables of the signals, all in the database of the engine.
    """

    def __init__(self, engine: Engine, tables: Sequence[SignalTable]) -> None:
        self._engine = engine
        self._tables = tables
        self._connection: Connection | None = None
        self._ear: Ear | None = None
        self._failures = 0
        self._has_been_open = self._has_lost_listen = False
        self._opens_at = self._renewed_at = 0.0
        self._open()

    @property
    def pause(self) -> float:
        """How many seconds later to ask again."""
        return LISTENING_PAUSE if self._ear is None else self._ear.pause

    @property
    def socket(self) -> int | None:
        """What becomes readable when there is something to be heard."""
        return None if self._ear is None else self._ear.socket

    def hears(self) -> bool:
        """Tell whether signals may have been recorded since the last call."""
        if self._ear is not None and monotonic() >= self._renewed_at:
            self.close()
        if self._ear is None:
            # What has come in the meantime was missed.
            return monotonic() >= self._opens_at and self._open()

        try:
            return self._ear.hears()
        # Errors of drivers have no base of their own.
        except Exception as error:
            self._note_failure(error)
            return False

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._ear = self._connection, None, None
        if connection is not None:
            close_at_once(connection)

    def _open(self) -> bool:
        try:
            self._connection = self._connect()
            ear = self._ear_on(self._connection)
            # Or else what fails at each look would be told of as over in between.
            ear.hears()
        except Exception as error:
            self._note_failure(error)
            return False

        self._ear, self._has_been_open = ear, True
        if self._failures:
            logger.info("Signals that are recorded wake the worker up again.")
        self._failures = 0
        self._renewed_at = monotonic() + _LONGEST_TRUST
        return True

    def _connect(self) -> Connection:
        if self._has_been_open:
            # Nor is that of the passes, which may be as old, to be trusted any longer.
            with self._engine.connect() as connection:
                connection.invalidate()
        connection = self._engine.connect()
        # A real transaction is what SQLite reads in.
        if traits_of(connection.dialect).begin is None:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        # The pool may have no more than one for the passes.
        connection.detach()
        prepare_nothing(connection)
        return connection

    def _ear_on(self, connection: Connection) -> Ear:
        traits = traits_of(connection.dialect)
        if traits.data_version is not None:
            return Watching(connection, self._tables)

        if traits.listen is not None and hears_rings(connection):
            ear = Listening(connection, self._tables)
            if ear.hears_echo(self._engine):
                return ear
            # Once, and not whenever the connection is replaced.
            level = DEBUG if self._has_lost_listen else WARNING
            self._has_lost_listen = True
            logger.log(
                level,
                "LISTEN does not work on this connection, as behind a pooler of"
                " transactions; the worker looks at the tables instead.",
            )

        return Probing(connection, self._tables)

    def _note_failure(self, error: Exception) -> None:
        if not self._failures:
            logger.warning(
                "Signals that are recorded do not wake the worker up for now: %s",
                " ".join(str(error).split()),
            )
        shortest, longest = _CONNECTING_PAUSES
        # The exponent is bounded, since a float is.
        grown = shortest * 2.0 ** min(self._failures, 64) if self._failures else 0.0
        pause = min(longest, grown)
        self._opens_at = monotonic() + pause
        self._failures += 1
        self.close()
