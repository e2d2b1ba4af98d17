"""What it costs to record signals: ``python -m benchmarks.recording``.

The same model is recorded by plain Flask-SQLAlchemy and with the mixins of this
library, in turn, in one process. Processor time is what counts: the database does the
same for all of them. (SQLite does it in the same process.)
"""

import argparse
import datetime
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import delete, insert

from benchmarks.contestants.signalbus import (
    SignalBusOnly,
    WithAtomicProcedures,
    declare_signal,
)
from benchmarks.databases import BACKENDS, Backend, outbox
from benchmarks.pages import publish
from benchmarks.results import driver_name
from benchmarks.tables import list_table

COUNT = 1000
TEXT = "confirmation of order number 0000000 to a customer"
MOMENT = datetime.datetime(2025, 1, 31, 12, 34, 56, 789012)

TITLES = {
    "plain": "plain Flask-SQLAlchemy",
    "signalbus": "this library",
    "atomic": "with atomic procedures",
    "plain bulk": "plain, insert",
    "bulk": "this library, insert",
}
#: How much more than plain Flask-SQLAlchemy a session that records may cost.
TARGET = 1.05


@dataclass(frozen=True)
class Application:
    """An application that records signals."""

    app: Flask
    db: Any
    signal: Any

    @classmethod
    def of(cls, kind: type[SQLAlchemy], url: str) -> "Application":
        db = kind()
        app = Flask("bench", instance_path=tempfile.gettempdir())
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        db.init_app(app)
        return cls(app, db, declare_signal(db))

    def add(self) -> None:
        for _ in range(COUNT):
            self.db.session.add(self.signal(text=TEXT, recorded_at=MOMENT))
        self.db.session.commit()

    def insert(self) -> None:
        rows = [{"text": TEXT, "recorded_at": MOMENT}] * COUNT
        self.db.session.execute(insert(self.signal), rows)
        self.db.session.commit()

    def clear(self) -> None:
        self.db.session.execute(delete(self.signal))
        self.db.session.commit()

    def cost_of(self, record: Callable[["Application"], None]) -> float:
        """Return the microseconds of processor time that a signal takes."""
        with self.app.app_context():
            self.clear()
            gc.collect()
            start = time.process_time()
            record(self)
            return (time.process_time() - start) / COUNT * 1e6


def costs(url: str, rounds: int) -> dict[str, list[float]]:
    """Return what the ways to record signals cost, round by round, in turn."""
    plain = Application.of(SQLAlchemy, url)
    signalbus = Application.of(SignalBusOnly, url)
    atomic = Application.of(WithAtomicProcedures, url)
    ways: dict[str, tuple[Application, Callable[[Application], None]]] = {
        "plain": (plain, Application.add),
        "signalbus": (signalbus, Application.add),
        "atomic": (atomic, Application.add),
        "plain bulk": (plain, Application.insert),
        "bulk": (signalbus, Application.insert),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for i in range(rounds + 1):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            application, record = ways[name]
            cost = application.cost_of(record)
            # The first round compiles the statements.
            if i:
                found[name].append(cost)

    for application in (plain, signalbus, atomic):
        with application.app.app_context():
            application.db.engine.dispose()

    return found


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What it costs to record a signal, by database and way."""

    database: str
    driver: str
    costs: Mapping[str, Sequence[float]]

    def ratio(self, name: str) -> float:
        """Return how a way compares with plain Flask-SQLAlchemy."""
        pairs = zip(self.costs[name], self.costs["plain"], strict=True)
        return median(cost / plain for cost, plain in pairs)

    def row(self) -> Sequence[str]:
        cells = [f"{self.database} ({driver_name(self.driver)})"]
        for name, found in self.costs.items():
            compared = "" if name == "plain" else f" ({self.ratio(name):.2f})"
            cells.append(f"{min(found):.1f}{compared}")

        return cells


def table(findings: Iterable[Findings]) -> str:
    header = ["Database", *TITLES.values()]
    return list_table(header, [found.row() for found in findings])


def _measure(backends: Iterable[Backend], rounds: int) -> Iterator[Findings]:
    for backend in backends:
        with outbox(backend, None) as signals:
            for driver in backend.drivers:
                print(f"recording: {driver}", file=sys.stderr, flush=True)
                yield Findings(
                    database=backend.name,
                    driver=driver,
                    costs=costs(signals.url(driver), rounds),
                )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.recording", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure little, roughly")
    parser.add_argument(
        "--only", nargs="+", default=[backend.name for backend in BACKENDS]
    )
    options = parser.parse_args()
    backends = (backend for backend in BACKENDS if backend.name in options.only)
    findings = list(_measure(backends, rounds=10 if options.quick else 50))

    publish("recording", table(findings), is_rough=options.quick)
    ours = ("signalbus", "atomic")
    is_good = all(found.ratio(name) <= TARGET for found in findings for name in ours)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
