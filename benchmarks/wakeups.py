"""How soon a waiting worker sends, and at what cost: ``python -m benchmarks.wakeups``.

The worker is the real command in a process of its own. ``--repeat`` is so long that it
sends in time only what wakes it up.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.databases import BACKENDS, Outbox, outbox
from benchmarks.pages import publish
from benchmarks.results import driver_name
from benchmarks.tables import list_table
from benchmarks.workers import Process, processes, program

REPEAT = 30
#: Milliseconds from commit to send, in the median.
LATENCIES = {"PostgreSQL": 5.0, "SQLite": 30.0, "MySQL": 80.0, "MariaDB": 80.0}
#: Statements that an idle worker sends in a minute.
IDLE_STATEMENTS = {"PostgreSQL": 30.0}
#: The part of a processor that an idle worker takes.
IDLE_CPU = 0.01
RECORDERS = 4


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was measured on one database.

    :param latencies: Milliseconds from commit to send.
    :param statements: What an idle worker sends in a minute.
    :param cpu: The part of a processor that it takes.
    :param rates: Transactions per second of one recorder and of several, each with the
        wake-up and without it.
    """

    database: str
    driver: str
    latencies: list[float]
    statements: float
    cpu: float
    rates: dict[int, tuple[float, float]]

    @property
    def is_good(self) -> bool:
        return (
            median(self.latencies) <= LATENCIES[self.database]
            and self.statements <= IDLE_STATEMENTS.get(self.database, float("inf"))
            and self.cpu <= IDLE_CPU
        )

    def row(self) -> Sequence[str]:
        ordered = sorted(self.latencies)
        rates = [
            f"{on:.0f} / {off:.0f} ({on / off:.2f})" for on, off in self.rates.values()
        ]
        return [
            f"{self.database} ({driver_name(self.driver)})",
            f"{median(ordered):.1f}",
            f"{ordered[int(len(ordered) * 0.95)]:.1f}",
            f"{self.statements:.0f}",
            f"{self.cpu:.2%}",
            *rates,
        ]


def measure(signals: Outbox, driver: str, *, rounds: int, seconds: int) -> Findings:
    url = signals.url(driver)
    signals.clear()
    programs = [
        program("listener", "worker", url, str(REPEAT)),
        program("listener", "recorder", url, "on"),
    ]
    with processes(programs) as (worker, recorder):
        recorder.answer()
        latencies = list(_latencies(worker, recorder, rounds))
        # What was recorded lately has it look more often.
        time.sleep(REPEAT)
        before = worker.ask("cost")
        time.sleep(seconds)
        after = worker.ask("cost")

    cost = {key: after[key] - before[key] for key in after}
    return Findings(
        database=signals.backend.name,
        driver=driver,
        latencies=latencies,
        statements=cost["statements"] * 60 / seconds,
        cpu=cost["cpu_seconds"] / seconds,
        rates={n: _rates(signals, url, n, rounds) for n in (1, RECORDERS)},
    )


def _latencies(worker: Process, recorder: Process, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        # Often enough to have waited long, and at no multiple of any pause.
        time.sleep(random.uniform(0.3, 1.5))
        committed = recorder.ask("1")["committed"]
        # It may be sent before the recorder has noticed that it is committed.
        yield max(0.0, worker.answer()["sent"] - committed) * 1e3


def _rates(signals: Outbox, url: str, number: int, rounds: int) -> tuple[float, float]:
    """Return the speed of recorders with and without rings, made in turn."""
    rates: dict[str, list[float]] = {"on": [], "off": []}
    programs = (
        program("listener", "recorder", url, s) for s in rates for _ in range(number)
    )
    with processes(programs) as found:
        for recorder in found:
            recorder.answer()
        teams = {"on": found[:number], "off": found[number:]}
        for _ in range(max(3, rounds // 5)):
            for switch, team in teams.items():
                signals.clear()
                rates[switch].append(_rate_of(team))

    return median(rates["on"]), median(rates["off"])


def _rate_of(team: Sequence[Process]) -> float:
    count = 400 // len(team)
    started = time.monotonic()
    for recorder in team:
        recorder.tell(str(count))
    ended: float = max(recorder.answer()["committed"] for recorder in team)
    return count * len(team) / (ended - started)


def table(findings: Sequence[Findings]) -> str:
    header = [
        "Database",
        "Median, ms",
        "95 %, ms",
        "Idle: statements a minute",
        "Idle: processor",
        "One recorder, on / off",
        f"{RECORDERS} recorders, on / off",
    ]
    return list_table(header, [found.row() for found in findings])


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.wakeups", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure little, roughly")
    parser.add_argument(
        "--only", nargs="+", default=[backend.name for backend in BACKENDS]
    )
    options = parser.parse_args()
    rounds, seconds = (20, 30) if options.quick else (50, 60)

    findings = []
    for backend in BACKENDS:
        if backend.name in options.only:
            with outbox(backend, None) as signals:
                for driver in backend.drivers:
                    print(f"wake-ups: {driver}", file=sys.stderr, flush=True)
                    findings.append(
                        measure(signals, driver, rounds=rounds, seconds=seconds)
                    )

    publish("wakeups", table(findings), is_rough=options.quick)
    return 0 if all(found.is_good for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
