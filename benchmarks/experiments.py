"""What is measured: bursts, flushers at the same time, and backlogs.

What is compared takes turns, round after round, because the speed of a machine is
never constant for long.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.databases import Outbox
from benchmarks.scale import (
    BACKLOG_BURST,
    BURSTS,
    FLUSHER_BURST,
    FLUSHER_PAUSE,
    FLUSHERS,
    Scale,
)
from benchmarks.workers import Run, Worker

T = TypeVar("T")
Say = Callable[[str], None]


def progress() -> Say:
    """Return what says how far a benchmark is, and how long it has taken."""
    start = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        print(f"{minutes:3}:{seconds:02}  {text}", file=sys.stderr, flush=True)

    return say


@dataclass(frozen=True, kw_only=True)
class Series:
    """How fast one contestant was in each round.

    :param experiment: ``bursts``, ``flushers`` or ``backlogs``.
    :param size: Signals in a burst, flushers at the same time, or signals pending.
    :param rates: Signals per second.
    :param cpu: Microseconds of processor time per signal.
    """

    experiment: str
    database: str
    driver: str
    contestant: str
    size: int
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, run: Run) -> None:
        self.rates.append(run.sent / run.seconds)
        self.cpu.append(run.cpu_seconds / run.sent * 1e6)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One database, seen through one driver."""

    outbox: Outbox
    driver: str
    scale: Scale
    say: Say

    def flush(self, worker: Worker, burst: int, count: int) -> Run:
        """Record this many signals, and have a contestant flush them."""
        self.outbox.fill(count)
        run = worker.flush(burst)
        if run.sent != count:
            raise RuntimeError(f"Only {run.sent} of {count} signals were sent.")

        return run

    def series(self, experiment: str, contestant: str, size: int) -> Series:
        return Series(
            experiment=experiment,
            database=self.outbox.backend.name,
            driver=self.driver,
            contestant=contestant,
            size=size,
        )

    def in_turn(self, what: str, things: Sequence[T]) -> Iterator[T]:
        """Yield all things in each round, starting each round with a different one."""
        for i in range(self.scale.rounds):
            self.say(f"{self.driver}: {what}, round {i + 1} of {self.scale.rounds}")
            first = i % len(things)
            yield from things[first:]
            yield from things[:first]

    def count_for(self, worker: Worker, burst: int, seconds: float) -> int:
        """Return about how many signals a contestant sends in that many seconds."""
        count = 2 * burst
        for part in (0.05, 0.3, 1.0):
            rate = self.flush(worker, burst, count).rate
            count = max(round(rate * seconds * part), 10 * burst)

        return count


def bursts(bench: Bench, contestants: Mapping[str, Worker]) -> Iterator[Series]:
    """Measure all contestants, with bursts of all sizes."""
    for burst in BURSTS:
        counts = {
            name: bench.count_for(worker, burst, bench.scale.seconds)
            for name, worker in contestants.items()
        }
        series = {name: bench.series("bursts", name, burst) for name in contestants}
        for name in bench.in_turn(f"bursts of {burst}", list(contestants)):
            worker = contestants[name]
            series[name].add(bench.flush(worker, burst, counts[name]))

        yield from series.values()


def flushers(bench: Bench, workers: Sequence[Worker]) -> Iterator[Series]:
    """Measure several of our flushers at the same time, with a slow sender."""
    count = round(2 * bench.scale.seconds / FLUSHER_PAUSE) * FLUSHER_BURST
    series = {
        number: bench.series("flushers", "signalbus", number) for number in FLUSHERS
    }
    for number in bench.in_turn("flushers at the same time", FLUSHERS):
        bench.outbox.fill(count)
        run = _together(workers[:number])
        if run.sent != count:
            raise RuntimeError(f"{run.sent} signals were sent, not {count}.")
        series[number].add(run)

    yield from series.values()


def backlogs(bench: Bench, worker: Worker) -> Iterator[Series]:
    """Measure how fast we drain smaller and larger backlogs."""
    sizes = bench.scale.backlogs
    series = {size: bench.series("backlogs", "signalbus", size) for size in sizes}
    for size in bench.in_turn("backlogs", sizes):
        # A small one takes so little time that a single run would say little.
        times = max(1, 10 * sizes[0] // size)
        runs = [bench.flush(worker, BACKLOG_BURST, size) for _ in range(times)]
        series[size].add(_sum(runs))

    yield from series.values()


def _together(workers: Sequence[Worker]) -> Run:
    start = time.perf_counter()
    for worker in workers:
        worker.order(FLUSHER_BURST, FLUSHER_PAUSE)
    runs = [worker.result() for worker in workers]
    seconds = time.perf_counter() - start
    return Run(
        sum(run.sent for run in runs), seconds, sum(run.cpu_seconds for run in runs)
    )


def _sum(runs: Sequence[Run]) -> Run:
    return Run(
        sum(run.sent for run in runs),
        sum(run.seconds for run in runs),
        sum(run.cpu_seconds for run in runs),
    )
