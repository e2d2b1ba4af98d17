"""The results as text: tables in reStructuredText."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from benchmarks.experiments import Series
from benchmarks.results import Results, driver_name, ratio
from benchmarks.scale import BURSTS, FLUSHERS
from benchmarks.targets import Verdict

Cells = Sequence[str]

#: What the contestants are called, in the order of the columns.
TITLES = {
    "signalbus": "this library",
    "by hand": "by hand on SQLAlchemy",
    "bare": "bare driver",
    "predecessor": "0.5.20",
    "atomic": "with atomic procedures",
}
#: What this library is compared with, by the ratio of the rates.
COMPARED = ("by hand", "bare", "predecessor")
_NOTHING = "\N{EN DASH}"


def document(results: Results, verdicts: Iterable[Verdict]) -> str:
    """Return all of the tables, as a part of a page."""
    parts = [
        _titled("Signals per second, by the size of a burst", burst_table(results)),
        _titled("This library, compared", comparison_table(results)),
        _titled(
            "Flushers at the same time, with a slow sender", flusher_table(results)
        ),
        _titled("Backlogs", backlog_table(results)),
        _titled("Targets", target_table(verdicts)),
        _titled("Machine and versions", machine_table(results)),
    ]
    notice = ".. Written by 'make generated'; don't edit.\n"
    return "\n".join([notice, *parts])


def burst_table(results: Results) -> str:
    header = ["Database", "Burst", *TITLES.values()]
    return list_table(*_of_whom_ran(header, _burst_rows(results)))


def comparison_table(results: Results) -> str:
    ratios = (f"to {TITLES[name]}" for name in COMPARED)
    header = ["Database", "Burst", *ratios]
    return list_table(*_of_whom_ran(header, _comparison_rows(results)))


def flusher_table(results: Results) -> str:
    header = [
        "Database",
        *(f"{number} at once" for number in FLUSHERS),
        "2 to 1",
        "4 to 1",
    ]
    return list_table(header, _growth_rows(results, "flushers"))


def backlog_table(results: Results) -> str:
    sizes = sorted({series.size for series in results.find("backlogs")})
    first, *others = (f"{size:,}".replace(",", "\N{NO-BREAK SPACE}") for size in sizes)
    titles = [f"{other} to {first}" for other in others]
    header = ["Database", first, *others, *titles]
    return list_table(header, _growth_rows(results, "backlogs"))


def target_table(verdicts: Iterable[Verdict]) -> str:
    rows = (
        [
            verdict.where,
            verdict.what,
            f"{verdict.measured:.2f}",
            f"{verdict.at_least:.2f}",
            "met" if verdict.is_met else "**missed**",
        ]
        for verdict in verdicts
    )
    return list_table(["Database", "Ratio", "Measured", "At least", "Target"], rows)


def machine_table(results: Results) -> str:
    return list_table(["", ""], ({**results.machine, **results.versions}).items())


def _burst_rows(results: Results) -> Iterator[Cells]:
    for where, found in _bursts(results):
        yield [*where, *map(_rate, found.values())]


def _comparison_rows(results: Results) -> Iterator[Cells]:
    for where, found in _bursts(results):
        ratios = (_ratio(found["signalbus"], found[name]) for name in COMPARED)
        yield [*where, *ratios]


def _of_whom_ran(header: Cells, rows: Iterable[Cells]) -> tuple[Cells, list[Cells]]:
    """Leave out the columns of contestants that were not there at all."""
    found = list(rows)
    kept = [i for i in range(len(header)) if any(r[i] != _NOTHING for r in found)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in found]


def _bursts(results: Results) -> Iterator[tuple[Cells, dict[str, Series | None]]]:
    for database in results.databases("bursts"):
        for burst in BURSTS:
            found = {
                name: results.rate("bursts", name, burst, database) for name in TITLES
            }
            yield (_place(database), str(burst)), found


def _growth_rows(results: Results, experiment: str) -> Iterator[Cells]:
    for database in results.databases(experiment):
        name, driver = database
        first, *others = sorted(
            results.find(experiment, database=name, driver=driver),
            key=lambda series: series.size,
        )
        rates = map(_rate, [first, *others])
        yield [_place(database), *rates, *(_ratio(other, first) for other in others)]


def _place(database: tuple[str, str]) -> str:
    name, driver = database
    return f"{name} ({driver_name(driver)})"


def _rate(series: Series | None) -> str:
    if series is None:
        return _NOTHING

    return f"{_rounded(median(series.rates)):,}".replace(",", "\N{NO-BREAK SPACE}")


def _rounded(rate: float) -> int:
    """Keep only the digits that are reproducible."""
    return int(float(f"{rate:.3g}"))


def _ratio(ours: Series | None, theirs: Series | None) -> str:
    return _NOTHING if ours is None or theirs is None else f"{ratio(ours, theirs):.2f}"


def _titled(title: str, table: str) -> str:
    return f"{title}\n{'~' * len(title)}\n\n{table}"


def list_table(header: Cells, rows: Iterable[Cells]) -> str:
    lines = [header, *rows]
    text = [
        ".. list-table::",
        *([] if not any(header) else ["    :header-rows: 1"]),
        "",
    ]
    for cells in lines if any(header) else lines[1:]:
        text += [
            f"    {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(cells)
        ]

    return "\n".join(text) + "\n"
