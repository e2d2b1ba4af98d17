"""What the checks work with: a model, its table, its bus, and stand-ins."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from .._rules import Fault
from ..signalbus import SignalBus
from .broker import RecordingBroker
from .failures import CannotCheck, Finding, expect
from .outside import Capabilities, Key, OutsideView, StatementBudget
from .recorder import Answer, Recorder, RunawayFlush, accept
from .row_source import RowFactory, RowSource

#: What a check may need beside the model and its table.
Need = Literal["broker", "second_connection", "row_locks"]

#: How many rows a check records, and how many are flushed in one burst.
BURST = 2
ROWS = 3 * BURST + 1

_STATEMENTS_PER_ROW = 10


class Harness:
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
        self.model = model
        self.release = release
        self.app = app
        self.has_broker: bool = broker is not None
        self.broker: RecordingBroker = (
            broker if broker is not None else RecordingBroker()
        )
        self.rows: RowSource = RowSource(model, rows)
        self.budget: StatementBudget = StatementBudget()

    @property
    def db(self) -> SQLAlchemy:
        """The Flask-SQLAlchemy extension of the application."""
        extension: SQLAlchemy = self._extension("sqlalchemy")
        return extension

    @property
    def bus(self) -> SignalBus:
        """The signal bus of the application."""
        extension: SignalBus = self._extension("signalbus")
        return extension

    @property
    def mapper(self) -> Mapper[Any]:
        """How the model is mapped."""
        mapper: Mapper[Any] = sa.inspect(self.model)
        return mapper

    @cached_property
    def table(self) -> OutsideView:
        """The model's table, as another connection sees it.

        :raises CannotCheck: If the application has no engine of its own.
        """
        with self.app.app_context():
            engine = self.db.session.get_bind(self.model)
        if not isinstance(engine, Engine):
            raise CannotCheck(
                f"The session is bound to {engine!r}, not to an engine: the suite "
                f"wraps db.session in a transaction that is rolled back. {_UNWRAP}"
            )

        return OutsideView(self.model, engine)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the model's database can do."""
        return Capabilities.probe(self.table.engine)

    def has(self, need: Need) -> bool:
        """Tell whether something is there that a check needs."""
        if need == "broker":
            return self.has_broker

        has: bool = getattr(self.capabilities, need)
        return has

    def list_models(self) -> list[type[Any]]:
        """Ask the bus for the signal models that it knows."""
        return self.bus.get_signal_models()

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
        with self.recording():
            self.db.session.add_all(self.rows.make_many(count))
            self.db.session.commit()
        keys = self.table.keys()
        if len(keys) != before + count:
            raise CannotCheck(
                f"{count} rows were committed through db.session, but another "
                f"connection sees {len(keys) - before} of them: the suite wraps "
                f"db.session in a transaction that is rolled back. {_UNWRAP}"
            )

        return keys

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
            yield recorder

    def flushmany(self, *models: type[Any]) -> int:
        """Flush the given models, by default the one under test, within a budget."""
        rows = self.table.count()
        try:
            with (
                self.budget.of(_STATEMENTS_PER_ROW * (rows + 1)),
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
            found=f"{len(found)} pending rows {when}: {found}",
            expected=f"{len(keys)} rows: {list(keys)}",
        )

    def key_of(self, signal: Any) -> Key:
        """Return the primary key of what was sent."""
        try:
            return tuple(getattr(signal, name) for name in self.table.key_attributes)
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
        with self.recorder() as recorder:
            self.flush()
        return recorder.signals

    def _extension(self, name: str) -> Any:
        if name not in self.app.extensions:
            raise CannotCheck(
                f"The application has no extension '{name}'; call 'init_app' of a "
                f"database with 'SignalBusMixin' first."
            )

        return self.app.extensions[name]


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


_UNWRAP = (
    "Commits are what is being checked: let this test use the database without the "
    "wrapping, and delete the rows afterwards."
)
