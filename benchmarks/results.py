"""What was measured, and what it says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.experiments import Series


@dataclass(frozen=True, kw_only=True)
class Results:
    """All series of one run, and what they were measured on.

    :param machine: Facts about the machine, by name.
    :param versions: Versions of programs, by name.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    series: list[Series]

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read results that were saved."""
        facts = json.loads(path.read_text())
        series = [Series(**each) for each in facts.pop("series")]
        return cls(**facts, series=series)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    def find(
        self, experiment: str, contestant: str = "signalbus", **wanted: str | int
    ) -> Iterator[Series]:
        """Yield the series of an experiment, in the order in which they were made."""
        for series in self.series:
            facts = vars(series)
            if (series.experiment, series.contestant) == (
                experiment,
                contestant,
            ) and all(facts[name] == value for name, value in wanted.items()):
                yield series

    def databases(self, experiment: str) -> list[tuple[str, str]]:
        """Return the databases and drivers of an experiment."""
        found = (series for series in self.series if series.experiment == experiment)
        return list(dict.fromkeys((s.database, s.driver) for s in found))

    def rate(
        self, experiment: str, contestant: str, size: int, database: tuple[str, str]
    ) -> Series | None:
        name, driver = database
        found = self.find(
            experiment, contestant, size=size, database=name, driver=driver
        )
        return next(found, None)


def driver_name(driver: str) -> str:
    """Return what a driver is called, from the scheme of its URLs."""
    return "sqlite3" if driver == "sqlite" else driver.rpartition("+")[2]


def ratio(ours: Series, theirs: Series) -> float:
    """Return the median of the ratios of runs that were made side by side."""
    pairs = zip(ours.rates, theirs.rates, strict=True)
    return median(mine / other for mine, other in pairs)
