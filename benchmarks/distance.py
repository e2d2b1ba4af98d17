"""Bursts over a network: ``python -m benchmarks.distance``.

A relay on the loopback interface adds a millisecond to each round trip.
"""

import argparse
import sys
from collections.abc import Iterator

import sqlalchemy as sa

from benchmarks import experiments
from benchmarks.databases import BACKENDS, Outbox, outbox
from benchmarks.experiments import Bench, Series
from benchmarks.pages import publish
from benchmarks.results import Results
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.tables import burst_table, comparison_table
from benchmarks.workers import program, working
from servers.relay import relayed

#: Seconds that are added to each round trip.
DELAY = 0.001
CONTESTANTS = {
    "signalbus": ("signalbus", "plain"),
    "by hand": ("by_hand",),
    "bare": ("bare",),
}


def _measure(signals: Outbox, driver: str, scale: Scale) -> Iterator[Series]:
    with relayed(sa.make_url(signals.url(driver)), DELAY) as relay:
        url = relay.url.render_as_string(hide_password=False)
        programs = [
            program(module, url, *arguments)
            for module, *arguments in CONTESTANTS.values()
        ]
        bench = Bench(outbox=signals, driver=driver, scale=scale, say=_say)
        with working(programs) as workers:
            contestants = dict(zip(CONTESTANTS, workers, strict=True))
            yield from experiments.bursts(bench, contestants)


def _say(text: str) -> None:
    print(f"1 ms away: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.distance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure little, roughly")
    # SQLite is nowhere else.
    distant = [backend for backend in BACKENDS if not backend.has_one_writer]
    names = [backend.name for backend in distant]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()

    scale = QUICK if options.quick else FULL
    results = Results(machine={}, versions={}, series=[])
    for backend in distant:
        if backend.name in options.only:
            with outbox(backend) as signals:
                for driver in backend.drivers:
                    results.series.extend(_measure(signals, driver, scale))

    text = "\n".join([burst_table(results), comparison_table(results)])
    publish("distance", text, is_rough=options.quick)


if __name__ == "__main__":
    main()
