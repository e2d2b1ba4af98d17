"""How many signals are pending, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, DateTime, literal_column, select
from sqlalchemy.orm import scoped_session

from ._dialects import traits_of
from ._flushable import signal_table_of
from ._models import Model, SignalTable, moment_of
from ._rules import Candidate
from ._sessions import current
from ._sources import bind_for_writes
from ._table_rules import created_at_is_a_moment


@dataclass(frozen=True, kw_only=True)
class PendingSignals:
    """The signals of one model that are pending.

    :param model: The signal model.
    :param count: How many they are. If it is the ``max_count`` that was asked for,
        there are that many or more.
    :param oldest_age: How long ago the oldest of them was recorded, by the clock that
        has recorded it; never negative. ``None`` if nothing is pending, or if the model
        has no ``signalbus_created_at``.

    .. versionadded:: 1.1
    """

    model: Model
    count: int
    oldest_age: timedelta | None


def count_pending(
    model: Model,
    session: scoped_session[Any],
    *,
    max_count: int | None = None,
    asks_for_age: bool = True,
) -> PendingSignals:
    """Look at the pending signals of a model, where a flush would.

    :raises RuntimeError: If the signals do not lie in exactly one table.
    :raises ValueError: If ``signalbus_created_at`` does not name a moment.
    """
    signals = signal_table_of(model)
    moment = _moment_of(model) if asks_for_age else None
    with _reading(session, signals) as connection:
        count: int = connection.execute(signals.select_count(max_count)).scalar_one()
        age = None
        if moment is not None and count:
            age = _oldest_age(connection, signals, moment)

    return PendingSignals(model=model, count=count, oldest_age=age)


def _moment_of(model: Model) -> str | None:
    name: str | None = moment_of(model)
    fault = created_at_is_a_moment.fault_of(Candidate(model))
    if fault is not None:
        raise ValueError(
            f"'signalbus_created_at' of '{model.__name__}' must be {fault.expected},"
            f" got {name!r}."
        )

    return name


@contextmanager
def _reading(
    session: scoped_session[Any], signals: SignalTable
) -> Iterator[Connection]:
    """Read on the connection for writes; leave no transaction that was not there."""
    bind = bind_for_writes(session, signals)
    was_in_transaction = current(session).in_transaction()
    connection = session.connection(bind_arguments={"bind": bind})
    try:
        yield connection
    finally:
        transaction = current(session).get_transaction()
        if transaction is not None and not was_in_transaction:
            transaction.close()


def _oldest_age(
    connection: Connection, signals: SignalTable, name: str
) -> timedelta | None:
    oldest: datetime | None = connection.scalar(signals.select_oldest(name))
    if oldest is None:
        return None

    now = _now(connection, oldest, by_database=_is_told_by_database(signals, name))
    return max(now - oldest, timedelta(0))


def _is_told_by_database(signals: SignalTable, name: str) -> bool:
    """Tell whether the database's clock gives a column its default."""
    column: Any = next(c.element for c in signals.columns if c.name == name)
    default = column.default
    return column.server_default is not None or (
        default is not None and not (default.is_callable or default.is_scalar)
    )


def _now(connection: Connection, moment: datetime, *, by_database: bool) -> datetime:
    """Return the time in the terms of a moment.

    A moment without a time zone is in that of the database's session if the database
    has written it, otherwise in UTC.
    """
    if by_database:
        traits = traits_of(connection.dialect)
        clock = "CURRENT_TIMESTAMP" if moment.tzinfo else traits.local_clock
        query = select(literal_column(clock, DateTime()))
        told: datetime = connection.execute(query).scalar_one()
        # Where no column has a time zone, a type of the application's has added it.
        if (told.tzinfo is None) == (moment.tzinfo is None):
            return told

    now = datetime.now(UTC)
    return now if moment.tzinfo else now.replace(tzinfo=None)
