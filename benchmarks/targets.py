"""How fast flushing is meant to be."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.experiments import Series
from benchmarks.results import Results, driver_name, ratio
from benchmarks.scale import BURSTS

_BARE_AT_LEAST = {1: 0.75, 10: 0.75, 100: 0.8, 1000: 0.9}
_BARE_AT_LEAST_ON = {"PostgreSQL": {1: 0.75, 10: 0.78, 100: 0.85, 1000: 1.0}}
_PREDECESSOR_AT_LEAST = {"PostgreSQL": 3.0}
_TWO_FLUSHERS_AT_LEAST = 1.9
_LARGE_BACKLOG_AT_LEAST = 0.9
# Flushers wait for each other here; more of them are not expected to be faster.
_HAS_ONE_WRITER = {"SQLite"}


@dataclass(frozen=True)
class Verdict:
    """Whether one target was met."""

    what: str
    where: str
    measured: float
    at_least: float

    @property
    def is_met(self) -> bool:
        return self.measured >= self.at_least


def verdicts(results: Results) -> Iterator[Verdict]:
    """Compare what was measured with the targets."""
    yield from _burst_verdicts(results)
    yield from _flusher_verdicts(results)
    yield from _backlog_verdicts(results)


def _burst_verdicts(results: Results) -> Iterator[Verdict]:
    for database in results.databases("bursts"):
        for burst in BURSTS:
            limits = {
                "bare": _BARE_AT_LEAST_ON.get(database[0], _BARE_AT_LEAST)[burst],
                "predecessor": _PREDECESSOR_AT_LEAST.get(database[0], 1.0),
            }
            ours = results.rate("bursts", "signalbus", burst, database)
            for contestant, limit in limits.items():
                theirs = results.rate("bursts", contestant, burst, database)
                if ours and theirs:
                    what = f"burst {burst}, to {contestant}"
                    yield _verdict(what, ours, theirs, limit)


def _flusher_verdicts(results: Results) -> Iterator[Verdict]:
    for database in results.databases("flushers"):
        one = results.rate("flushers", "signalbus", 1, database)
        two = results.rate("flushers", "signalbus", 2, database)
        if one and two and database[0] not in _HAS_ONE_WRITER:
            yield _verdict("two flushers, to one", two, one, _TWO_FLUSHERS_AT_LEAST)


def _backlog_verdicts(results: Results) -> Iterator[Verdict]:
    for name, driver in results.databases("backlogs"):
        found = list(results.find("backlogs", database=name, driver=driver))
        smallest, *_, largest = sorted(found, key=lambda series: series.size)
        what = f"{largest.size} pending, to {smallest.size}"
        yield _verdict(what, largest, smallest, _LARGE_BACKLOG_AT_LEAST)


def _verdict(what: str, ours: Series, theirs: Series, limit: float) -> Verdict:
    where = f"{ours.database} ({driver_name(ours.driver)})"
    return Verdict(what, where, ratio(ours, theirs), limit)
