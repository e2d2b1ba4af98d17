"""What the checks work with: a model, its table, its bus, and stand-ins."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from .._rules import Fault
from .broker import RecordingBroker
from .comparing import difference, shortened
from .failures import CannotCheck, Finding, expect
from .outside import Key, StatementBudget
from .recorder import Answer, Recorder, RunawayFlush, accept
from .row_source import RowFactory, RowSource
from .subject import UNWRAP, Subject

#: How many rows a check records, and how many are flushed in one burst.
BURST = 2
ROWS = 3 * BURST + 1

_STATEMENTS_PER_ROW = 10


class Harness(Subject):
    """One signal model in one application, ready to be tried.

    :param model: The signal model.
    :param app: The application; its extensions tell the database and the bus.
    :param rows: Makes the i-th row of the model; by default a sample row.
    :param broker: A fake that receives what the model's send methods publish.
    :param release: Only the checks of this release are tried.
    """

    def __init__(
        self,
        model: type[Any],
        app: Flask,
        *,
        rows: RowFactory | None = None,
        broker: RecordingBroker | None = None,
        release: str | None = None,
    ) -> None:
        super().__init__(model, app, has_broker=broker is not None)
        self.release = release
        self.broker: RecordingBroker = (
            broker if broker is not None else RecordingBroker()
        )
        self.rows: RowSource = RowSource(model, rows)
        self.budget: StatementBudget = StatementBudget()
        self.findings: dict[str, Finding | None] = {}
        self._stand_ins = 0
        self._is_readable = False

    @contextmanager
    def clean_table(self) -> Iterator[None]:
        """Begin with an empty table and short lock timeouts; leave nothing behind."""
        with (
            self.table.impatience(),
            self.budget.watching(self.table.engine),
            _without_logging(),
        ):
            self.table.require_empty_table()
            try:
                yield
            except BaseException:
                # What was found matters more than what cannot be cleared.
                with suppress(SQLAlchemyError):
                    self.table.delete_all()
                raise
            self.table.delete_all()

    def new_row(self) -> Any:
        """Return a row that is in no session; call it in an application context."""
        return self.rows.make()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Work in an application context; blame the rows if they are refused.

        :raises CannotCheck: If so.
        """
        with (
            self.app.app_context(),
            self.rows.answering(self.table.engine.dialect),
        ):
            yield

    def record(self, count: int = ROWS) -> list[Key]:
        """Record rows, commit, and return the primary keys of all that is pending.

        :raises CannotCheck: If a row cannot be made or recorded, or if the commit did
            not reach the database.
        """
        before = self.table.count()
        with self._muting_senders(), self.recording():
            self.db.session.add_all(self.rows.make_many(count))
            self.db.session.commit()
            inside = self.table.seen_by(self.db.session)
        self._expect_readable()
        keys = self.table.keys()
        if len(keys) == before + count:
            return keys

        what = f"{count} rows were committed through db.session, but"
        seen = len(keys) - before
        if inside == len(keys):
            raise CannotCheck(
                f"{what} {seen} of them are there: something sends or deletes them at"
                f" the commit. Does a listener flush the signal bus? Turn it off here."
            )

        raise CannotCheck(
            f"{what} another connection sees {seen} of them: the suite wraps "
            f"db.session in a transaction that is rolled back. {UNWRAP}"
        )

    def _expect_readable(self) -> None:
        """Expect that the values of the rows survive a round trip, once."""
        if self._is_readable:
            return

        for name in self.table.attributes:
            with self.rows.answering_for(name):
                self.table.read(name)
        self._is_readable = True

    @contextmanager
    def recorder(
        self, answer: Answer = accept, *, bulk: bool = False, burst: int | None = BURST
    ) -> Iterator[Recorder]:
        """Replace the model's send methods; see :class:`Recorder`."""
        recorder = Recorder(answer)
        with ExitStack() as stack:
            # The burst count may be a descriptor that reads the configuration.
            with self.app.app_context():
                senders = recorder.replacing_senders(self.model, bulk=bulk, burst=burst)
                stack.enter_context(senders)
            stack.enter_context(self.replacing())
            yield recorder

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Note that somebody stands in for the send methods."""
        self._stand_ins += 1
        try:
            yield
        finally:
            self._stand_ins -= 1

    def _muting_senders(self) -> AbstractContextManager[object]:
        """Let nothing be sent where nobody stands in for the send methods."""
        return nullcontext() if self._stand_ins else self.recorder(burst=None)

    def flushmany(
        self, *models: type[Any], statements_per_row: int = _STATEMENTS_PER_ROW
    ) -> int:
        """Flush the given models, by default the one under test, within a budget."""
        rows = self.table.count()
        try:
            with (
                self.budget.of(statements_per_row * (rows + 1)),
                self.app.app_context(),
            ):
                return self.bus.flushmany(models or (self.model,))
        except RunawayFlush as exc:
            raise Finding(
                Fault(
                    found=f"runaway flush: {exc} for {rows} pending signals",
                    expected="a flush that ends",
                )
            ) from exc

    def flush(self, *models: type[Any]) -> int:
        """Flush, and let nothing but an error of the database pass."""
        try:
            return self.flushmany(*models)
        except (Finding, SQLAlchemyError):
            raise
        except Exception as exc:
            raise Finding(
                Fault(
                    found=f"flushmany raised {exc!r}",
                    expected="the number of signals sent",
                )
            ) from exc

    def flush_raises(self, errors: Collection[BaseException]) -> None:
        """Flush, and expect that one of these very exceptions arrives.

        The senders may fill the collection while the flush is running.
        """
        expected = "the very exception that the send method raised"
        try:
            count = self.flushmany()
        except Finding:
            raise
        except BaseException as exc:
            if not any(exc is error for error in errors):
                raise Finding(
                    Fault(found=f"flushmany raised {exc!r}", expected=expected)
                ) from exc
        else:
            raise Finding(Fault(found=f"flushmany returned {count}", expected=expected))

    def expect_pending(self, keys: Sequence[Key], *, when: str) -> None:
        """Expect that exactly these rows are in the table."""
        found = self.table.keys()
        expect(
            found == list(keys),
            found=f"{len(found)} pending rows {when}: {difference(found, keys)}",
            expected=f"{len(keys)} rows: {shortened(list(keys))}",
        )

    def key_of(self, signal: Any) -> Key:
        """Return the primary key of what was sent."""
        try:
            return self.table.key_of(signal)
        except Exception as exc:
            raise Finding(
                Fault(
                    found=f"reading the primary key of the object raised {exc!r}",
                    expected="an object that has every column, and needs no session",
                )
            ) from exc

    def as_sent(self, count: int) -> list[Any]:
        """Return signals, as the bus hands them to the send methods."""
        self.record(count)
        return self.flushed()

    def flushed(self) -> list[Any]:
        """Return what is pending, as the bus hands it to the send methods."""
        with self.recorder() as recorder:
            self.flush()
        return recorder.signals

    def with_nulls(self) -> list[Any]:
        """Return signals with NULL in each of the nullable columns, and in all.

        Those that the model or the database does not allow are left out.
        """
        names = self.rows.nullable
        with self._muting_senders(), self.app.app_context():
            for nulls in [*([name] for name in names), names]:
                with suppress(Exception), self.db.session.begin_nested():
                    self.db.session.add(self.rows.make_with(nulls))
            self.db.session.commit()
        return self.flushed()


@contextmanager
def _without_logging() -> Iterator[None]:
    """Keep quiet about errors that are part of a check."""
    logger = logging.getLogger(__package__.rpartition(".")[0])
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
