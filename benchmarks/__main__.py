"""The command line: ``python -m benchmarks``, run in the project's folder."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import experiments, machine, plots, tables
from benchmarks.databases import BACKENDS, outbox
from benchmarks.environments import environment
from benchmarks.experiments import Bench, Series
from benchmarks.pages import BUILD, PUBLISHED
from benchmarks.results import Results
from benchmarks.scale import FLUSHERS, FULL, QUICK
from benchmarks.targets import verdicts
from benchmarks.workers import Worker, program, working

# SQLAlchemy 1.4 does not support psycopg 3.
UNKNOWN_TO_PREDECESSOR = {"postgresql+psycopg"}


def main() -> int:
    options = _arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    saved = options.output / "results.json"
    if not options.redraw:
        _measure(options).save(saved)

    results = Results.load(saved)
    reached = list(verdicts(results))
    text = tables.document(results, reached)
    (options.output / "results.rst").write_text(text)
    plots.draw(results, options.output)
    print(text)
    # A target that was missed is news only for whoever has measured.
    is_good = options.redraw or all(verdict.is_met for verdict in reached)
    return 0 if is_good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure little, roughly")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, help="the folder of the results")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        help="an empty database on a server that is already running",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[backend.name for backend in BACKENDS],
        help="the names of databases",
    )
    options = parser.parse_args()
    options.output = options.output or (BUILD if options.quick else PUBLISHED)
    return options


def _measure(options: argparse.Namespace) -> Results:
    python = environment("predecessor")
    chosen = [backend for backend in BACKENDS if backend.name in options.only]
    found = Results(machine=machine.facts(), versions={}, series=[])
    say = experiments.progress()
    for backend in chosen:
        url = next((url for url in options.url if backend.takes(url)), None)
        with outbox(backend, url) as signals:
            found.versions[backend.name] = signals.version
            for driver in backend.drivers:
                scale = QUICK if options.quick else FULL
                bench = Bench(outbox=signals, driver=driver, scale=scale, say=say)
                for series in _measure_driver(bench, python, found.versions):
                    found.series.append(series)

    return found


def _measure_driver(
    bench: Bench, python: str, versions: dict[str, str]
) -> Iterator[Series]:
    url = bench.outbox.url(bench.driver)
    programs = {
        "signalbus": program("signalbus", url, "plain"),
        "by hand": program("by_hand", url),
        "bare": program("bare", url),
        "predecessor": program("predecessor", url, python=python),
        "atomic": program("signalbus", url, "atomic"),
    }
    if bench.driver in UNKNOWN_TO_PREDECESSOR:
        del programs["predecessor"]

    with working(list(programs.values())) as workers:
        contestants = dict(zip(programs, workers, strict=True))
        _note_versions(contestants, versions)
        yield from experiments.bursts(bench, contestants)

    # What follows depends on the database, not on the driver.
    if bench.driver == bench.outbox.backend.drivers[0]:
        with working([programs["signalbus"]] * max(FLUSHERS)) as workers:
            yield from experiments.flushers(bench, workers)
            yield from experiments.backlogs(bench, workers[0])


def _note_versions(contestants: Mapping[str, Worker], versions: dict[str, str]) -> None:
    for name, worker in contestants.items():
        beside = " (for 0.5.20)" if name == "predecessor" else ""
        for distribution, version in worker.versions.items():
            versions[distribution + beside] = version


if __name__ == "__main__":
    sys.exit(main())
