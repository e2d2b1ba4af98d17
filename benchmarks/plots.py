"""The results as plots."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from benchmarks.results import Results, driver_name, ratio
from benchmarks.scale import BURSTS, FLUSHERS

# Colours that everybody can tell apart (Okabe and Ito), and markers for grey prints.
_CONTESTANTS: dict[str, dict[str, Any]] = {
    "bare": {"label": "bare driver", "color": "#7f7f7f", "marker": "o"},
    "signalbus": {"label": "this library", "color": "#0072b2", "marker": "s"},
    "predecessor": {
        "label": "flask-signalbus 0.5.20",
        "color": "#d55e00",
        "marker": "^",
    },
}
_DATABASES: dict[str, dict[str, Any]] = {
    "SQLite": {"color": "#7f7f7f", "marker": "o"},
    "PostgreSQL": {"color": "#0072b2", "marker": "s"},
    "MySQL": {"color": "#d55e00", "marker": "^"},
    "MariaDB": {"color": "#009e73", "marker": "D"},
}
# Legible on a white page and on a black one.
_INK = "#767676"
# The same results give the same files.
_STYLE: Any = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.3,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.axisbelow": True,
    "lines.markersize": 5,
    "legend.frameon": False,
}


def draw(results: Results, folder: Path) -> None:
    """Write the plots into a folder."""
    with mpl.rc_context(_STYLE):
        _draw_bursts(results, folder / "bursts.svg")
        _draw_growth(results, "flushers", folder / "flushers.svg")
        _draw_growth(results, "backlogs", folder / "backlogs.svg")


def _draw_bursts(results: Results, path: Path) -> None:
    databases = results.databases("bursts")
    # Two in a row can still be read on a phone.
    rows = -(-len(databases) // 2)
    with _figure(path, (5.2, 2.3 * rows + 0.8), rows=rows, columns=2) as (
        figure,
        panels,
    ):
        for panel, database in zip(panels, databases, strict=False):
            _draw_contestants(panel, results, database)
        for panel in panels[len(databases) :]:
            panel.set_axis_off()
        figure.supylabel("signals per second", fontsize="medium")
        figure.supxlabel("signals in a burst", fontsize="medium")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _draw_contestants(panel: Any, results: Results, database: tuple[str, str]) -> None:
    for contestant, style in _CONTESTANTS.items():
        found = [results.rate("bursts", contestant, size, database) for size in BURSTS]
        points = [(s.size, median(s.rates)) for s in found if s is not None]
        panel.plot(*zip(*points, strict=True) if points else ((), ()), **style)
    name, driver = database
    panel.set_title(f"{name}\n{driver_name(driver)}", fontsize="medium")
    panel.set_yscale("log")
    _set_sizes(panel, BURSTS)


_GROWTH = {
    "flushers": ("flushers at the same time", "times as fast as one"),
    "backlogs": ("signals pending", "times as fast as with the fewest"),
}


def _draw_growth(results: Results, experiment: str, path: Path) -> None:
    with _figure(path, (5.2, 3.4), rows=1, columns=1) as (_, (panel,)):
        highest = 0.0
        for name, driver in results.databases(experiment):
            series = list(results.find(experiment, database=name, driver=driver))
            series.sort(key=lambda each: each.size)
            growth = [ratio(each, series[0]) for each in series]
            sizes = [each.size for each in series]
            panel.plot(sizes, growth, label=name, **_DATABASES[name])
            highest = max(highest, *growth)
        across, up = _GROWTH[experiment]
        panel.set_xlabel(across)
        panel.set_ylabel(up)
        panel.set_ylim(0, 1.1 * highest)
        _set_sizes(panel, FLUSHERS if experiment == "flushers" else sizes)
        panel.legend()


def _set_sizes(panel: Any, sizes: Any) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    texts = [f"{size:,}".replace(",", "\N{NO-BREAK SPACE}") for size in sizes]
    panel.xaxis.set_major_formatter(FixedFormatter(texts))


@contextmanager
def _figure(
    path: Path, size: tuple[float, float], *, rows: int, columns: int
) -> Iterator[tuple[Any, Any]]:
    figure, panels = plt.subplots(
        rows, columns, figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    yield figure, panels.flat
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
