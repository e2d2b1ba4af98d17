"""How a worker hears that signals were recorded, each database in its own way."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import Any, Protocol

from sqlalchemy import (
    Connection,
    Engine,
    ScalarSelect,
    Select,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from ._dialects import traits_of
from ._drivers import (
    read_at_once,
    rings_on,
    socket_of,
    wait_for_no_lock,
)
from ._errors import has_code
from ._models import SignalTable
from ._ringing import is_meant_for, table_name
from ._statements import statements_on

#: How soon an ear is asked again, in seconds. One that has a socket need not be; but
#: nothing else notices in the meantime that the worker is to stop.
LISTENING_PAUSE = 0.05
_WATCHING_PAUSE = 0.03
#: How soon the tables are looked at again, when something has come, and when nothing
#: has come for a while.
_PROBING_PAUSES = (0.02, 0.1)
#: Up to which number signals are counted.
_COUNTED = 1000
#: How long a ring of ours may take.
_LONGEST_ECHO = 1.0


class Ear(Protocol):
    """What hears of signals on a connection."""

    @property
    def pause(self) -> float:
        """How many seconds later to ask again."""

    @property
    def socket(self) -> int | None:
        """What becomes readable when there is something to be heard."""

    def hears(self) -> bool:
        """Tell whether signals may have been recorded since the last call.

        :raises Exception: An error of the database or the driver.
        """


class Listening:
    """Hears the rings of the transactions that record (PostgreSQL)."""

    pause = LISTENING_PAUSE

    def __init__(self, connection: Connection, tables: Sequence[SignalTable]) -> None:
        listen = traits_of(connection.dialect).listen
        assert listen is not None
        self._connection = connection
        self._names = {table_name(signals.model) for signals in tables}
        connection.exec_driver_sql(listen)
        self.socket = socket_of(connection)

    def hears(self) -> bool:
        """Tell whether somebody has rung."""
        is_rung = False
        # They may be more than are received at once.
        while rings := rings_on(self._connection):
            is_rung = is_rung or any(is_meant_for(self._names, ring) for ring in rings)

        return is_rung

    def hears_echo(self, engine: Engine) -> bool:
        """Tell whether a ring from another connection arrives.

        Behind a pooler that changes the server's connection with each transaction it
        does not: LISTEN is left behind on one of them.
        """
        ring, notify = uuid.uuid4().hex, traits_of(engine.dialect).notify
        with engine.begin() as connection:
            connection.execute(text(str(notify)), {"ring": ring})

        deadline = monotonic() + _LONGEST_ECHO
        while ring not in rings_on(self._connection):
            if (left := deadline - monotonic()) <= 0:
                return False
            wait_for([self.socket], left)

        return True


class Probing:
    """Looks for newer signals with one statement, more seldom while nothing comes."""

    socket = None

    def __init__(self, connection: Connection, tables: Sequence[SignalTable]) -> None:
        self.pause = _PROBING_PAUSES[0]
        self._connection = connection
        self._query = _select_newest(connection, _readable_on(connection, tables))
        self._newest: Sequence[Any] = [None] * len(self._query.selected_columns)

    def hears(self) -> bool:
        """Tell whether a table has a newest signal that it did not have."""
        before, self._newest = self._newest, self._look()
        pairs = zip(self._newest, before, strict=True)
        is_newer = any(new not in (None, old) for new, old in pairs)
        self.pause = (
            _PROBING_PAUSES[0] if is_newer else min(2 * self.pause, _PROBING_PAUSES[1])
        )
        return is_newer

    def _look(self) -> Sequence[Any]:
        return self._connection.execute(self._query).one()


class Watching:
    """Counts the signals when another connection has written (SQLite).

    Keys of signals that were sent are used again, so the newest one tells nothing.
    """

    pause = _WATCHING_PAUSE
    socket = None

    def __init__(self, connection: Connection, tables: Sequence[SignalTable]) -> None:
        data_version = traits_of(connection.dialect).data_version
        assert data_version is not None
        quote = connection.dialect.identifier_preparer.quote
        tables = _readable_on(connection, tables)
        schemas = {connection.schema_for_object(t.table) or "main" for t in tables}
        self._connection = connection
        self._queries = [data_version.format(quote(schema)) for schema in schemas]
        self._query = _select_counts(tables)
        self._versions: list[Any] = []
        self._counts: Sequence[int] = [0] * len(tables)
        connection.rollback()
        wait_for_no_lock(connection)

    def hears(self) -> bool:
        """Tell whether there are more signals than at the last look."""
        try:
            return self._look()
        except Exception as error:
            # Whoever holds the lock is about to write.
            if _is_locked(error, self._connection):
                return False
            raise

    def _look(self) -> bool:
        versions = read_at_once(self._connection, self._queries)
        if versions == self._versions:
            return False

        before = self._counts
        with self._connection.begin():
            self._counts = self._connection.execute(self._query).one()
        self._versions = versions
        return any(now > then for now, then in zip(self._counts, before, strict=True))


def wait_for(sockets: Sequence[int], seconds: float) -> None:
    """Wait until one of the sockets is readable, but not longer."""
    with DefaultSelector() as selector:
        for socket in sockets:
            selector.register(socket, EVENT_READ)
        selector.select(seconds)


def _readable_on(
    connection: Connection, tables: Sequence[SignalTable]
) -> list[SignalTable]:
    """Leave out what is missing, or must not be read; the passes tell of it.

    :raises DBAPIError: If nothing is left, or if it is not the table's fault.
    """
    readable: list[SignalTable] = []
    for signals in tables:
        try:
            connection.execute(_select_one(signals))
        except DBAPIError as error:
            is_table_to_blame = not (
                error.connection_invalidated or _is_locked(error, connection)
            )
            if not is_table_to_blame or (signals is tables[-1] and not readable):
                raise
        else:
            readable.append(signals)

    return readable


def _select_one(signals: SignalTable) -> Select[Any]:
    return select(literal(1)).select_from(signals.table).limit(1)


def _select_counts(tables: Sequence[SignalTable]) -> Select[Any]:
    """Return the query for the count of each table; a worker that waits has little."""
    # No matter of which class: that would have to be searched for.
    some = (_select_one(signals).limit(_COUNTED).subquery() for signals in tables)
    return select(
        *(select(func.count()).select_from(each).scalar_subquery() for each in some)
    )


def _select_newest(
    connection: Connection, tables: Sequence[SignalTable]
) -> Select[Any]:
    """Return the query for the newest key of each table, in the order of its index."""
    keys = [statements_on(connection, signals).signals for signals in tables]
    return select(*(value for signals in keys for value in _newest(signals)))


def _newest(signals: SignalTable) -> Iterator[ScalarSelect[Any]]:
    newest_first = [column.desc() for column in signals.key]
    for column in signals.key:
        # No matter of which class: that would have to be searched for.
        yield select(column).order_by(*newest_first).limit(1).scalar_subquery()


def _is_locked(error: Exception, connection: Connection) -> bool:
    conflicts = traits_of(connection.dialect).conflicts
    return has_code(error, conflicts) or has_code(
        getattr(error, "orig", None), conflicts
    )
