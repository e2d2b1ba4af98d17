"""What a flush costs: statements, and rows that are read."""

import sqlite3
from itertools import pairwise
from statistics import median
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event, text

from support.broker import Broker
from support.capabilities import ROWS_READ


class Statements:
    """Counts what an engine sends to its database."""

    def __init__(self) -> None:
        self.count = 0
        self.commits = 0

    def listen(self, engine: Engine) -> None:
        """Begin to count what is sent by an engine."""
        event.listen(engine, "before_cursor_execute", self.note_statement)
        event.listen(engine, "commit", self.note_commit)

    def note_statement(self, *_: Any) -> None:
        self.count += 1

    def note_commit(self, connection: Connection) -> None:
        self.commits += 1


class Reads:
    """Tells how many rows each burst has read, or instructions it took."""

    def __init__(
        self, dialect: str, db: SQLAlchemy, broker: Broker, *, burst: int
    ) -> None:
        self._query = ROWS_READ.get(dialect)
        self._session = db.session
        self._instructions = 0
        self._taken = 0
        self._samples: list[int] = []
        #: How many signals are sent at once, or as many one by one.
        self.burst = burst
        event.listen(db.engine, "connect", self._count_instructions)
        broker.meanwhile = self.note_taken

    def note_taken(self, _: str) -> None:
        """Note what has been read so far, once a burst."""
        if self._taken % self.burst == 0:
            self._sample()
        self._taken += 1

    def _count_instructions(self, driver_connection: Any, _: object) -> None:
        """Have the driver of SQLite call us every so many instructions."""
        if isinstance(driver_connection, sqlite3.Connection):
            driver_connection.set_progress_handler(self._note_instructions, 10)

    def _sample(self) -> None:
        value = self._instructions
        if self._query:
            value = int(self._session.execute(text(self._query)).scalar_one())
        self._samples.append(value)

    def per_burst(self) -> float:
        """Return the median, and forget the samples."""
        samples, self._samples = self._samples, []
        # PostgreSQL starts from zero again whenever it has reported its counts.
        return median(b - a for a, b in pairwise(samples) if b > a)

    def _note_instructions(self) -> int:
        self._instructions += 10
        return 0
