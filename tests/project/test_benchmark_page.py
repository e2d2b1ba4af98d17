"""The plots of the benchmarks can be read on a phone, and on a dark page."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

PLOTS = sorted(
    (Path(__file__).parents[2] / "docs/_generated/benchmarks").glob("*.svg"),
)

#: In points. Wider ones would be shrunk, on a phone, until nobody can read them.
WIDEST = 400.0


@pytest.mark.parametrize("plot", PLOTS, ids=[plot.stem for plot in PLOTS])
def test_a_plot_is_narrow_and_has_no_ground_of_its_own(plot: Path) -> None:
    drawing = plot.read_text(encoding="utf-8")
    width = re.search(r'<svg [^>]*width="([\d.]+)pt"', drawing)

    assert width is not None
    assert float(width[1]) <= WIDEST
    assert not re.search(r"fill: (#f{3,6}|white)\b", drawing)
    assert not re.search(r"fill: #0{6}\b", drawing)


def test_there_are_plots() -> None:
    """Or else the test above proves nothing."""
    assert [plot.stem for plot in PLOTS] == ["backlogs", "bursts", "flushers"]
