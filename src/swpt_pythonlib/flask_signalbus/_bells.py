"""The bell that a worker waits for: it rings when signals were recorded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Event
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.pool import AssertionPool, SingletonThreadPool, StaticPool

from ._ears import wait_for
from ._flushable import signal_table_of
from ._models import Model, SignalTable
from ._open_ears import OpenEar
from ._ringing import committed, table_name, wakes_up
from ._sources import bind_for_writes

#: The longest pause after a ring: others may have been left out since then. Each
#: pause after it is twice as long.
_SHORTEST_PATIENCE = 0.05
_LONGEST_PATIENCE = 3600.0
#: How soon it is noticed, without an ear, what was recorded in the same process.
_SLICE = 0.05

# Pools that have a connection only, which must not be taken from them.
_SMALL_POOLS = (AssertionPool, SingletonThreadPool, StaticPool)


def bell_for(db: SQLAlchemy, models: Iterable[Model]) -> Bell:
    """Return a bell for the signals of the models.

    It hears what is recorded from now on, so make it before the first pass. It must
    be made in an application context; it outlives it.

    :param models: Those that cannot be flushed are left to the pass, which says why.
    """
    if not wakes_up():
        return Bell({}, [], lingers=False)

    tables = dict(_tables_of(db, models))
    places: dict[Engine, list[SignalTable]] = {}
    for signals, bind in tables.items():
        if isinstance(bind, Engine) and not isinstance(bind.pool, _SMALL_POOLS):
            places.setdefault(bind, []).append(signals)

    return Bell(places, [table_name(signals.model) for signals in tables])


def _tables_of(
    db: SQLAlchemy, models: Iterable[Model]
) -> Iterable[tuple[SignalTable, Any]]:
    for model in models:
        try:
            signals = signal_table_of(model)
            yield signals, bind_for_writes(db.session, signals)
        # An application's 'get_bind' may raise anything; so will the pass.
        except Exception:
            continue


class Bell:
    """Rings when signals were recorded, in one or in several databases.

    :param places: The tables of the signals, by their engines.
    :param names: The names of all the tables, for signals of the same process.
    :param lingers: Whether rings may have been left out.
    """

    def __init__(
        self,
        places: dict[Engine, list[SignalTable]],
        names: Iterable[str],
        *,
        lingers: bool = True,
    ) -> None:
        self._names = set(names)
        self._lingers = lingers
        self._patience = _SHORTEST_PATIENCE
        self._is_rung = False
        committed.connect(self._note_commit)
        self._ears = [OpenEar(engine, tables) for engine, tables in places.items()]

    def wait(self, seconds: float, stop: Event) -> None:
        """Wait until signals may have been recorded, or until it is time to look.

        Returns within milliseconds of a commit of ``db.session``, in any process, that
        has recorded signals, and of ``stop`` being set. After a ring the next waits are
        shorter than they are asked to be, since a process that records much leaves out
        rings. What nobody has rung for is left to the pass after ``seconds``.

        It never raises: when the database cannot be reached, it waits.

        :param seconds: The longest wait.
        """
        longest = min(seconds, self._patience) if self._lingers else seconds
        if self._rings_within(longest, stop):
            self._patience = _SHORTEST_PATIENCE
        else:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)

    def close(self) -> None:
        """Close the connections."""
        committed.disconnect(self._note_commit)
        for ear in self._ears:
            ear.close()

    def _rings_within(self, seconds: float, stop: Event) -> bool:
        deadline = time.monotonic() + seconds
        # Each ear is asked, also if another one has heard something.
        while not any([self._is_rung, *[ear.hears() for ear in self._ears]]):
            left = deadline - time.monotonic()
            if left <= 0 or stop.is_set():
                return False

            pauses = [ear.pause for ear in self._ears] or [_SLICE]
            self._nap(min(left, *pauses), stop)

        self._is_rung = False
        return True

    def _nap(self, seconds: float, stop: Event) -> None:
        sockets = [ear.socket for ear in self._ears if ear.socket is not None]
        if sockets:
            wait_for(sockets, seconds)
        else:
            stop.wait(seconds)

    def _note_commit(self, _: object, tables: set[str]) -> None:
        self._is_rung = self._is_rung or not self._names.isdisjoint(tables)
