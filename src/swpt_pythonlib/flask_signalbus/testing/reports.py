"""What became of many checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from .._reports import Result, summary
from .failures import ConformanceFailure


@dataclass(frozen=True)
class Report:
    """What became of many checks.

    .. versionadded:: 1.0
    """

    results: tuple[Result, ...]

    @property
    def failures(self) -> list[Result]:
        """The results of the checks that failed."""
        return [result for result in self.results if result.outcome == "failed"]

    def raise_for_failures(self) -> None:
        """Raise the failures as one, if there are any.

        :raises ConformanceFailure: If so.
        """
        if self.failures:
            reasons = (result.reason for result in self.failures)
            raise ConformanceFailure("\n\n".join(reasons))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and the results in plain types."""
        counts = Counter(result.outcome for result in self.results)
        return {
            "counts": dict(counts),
            "results": [asdict(result) for result in self.results],
        }

    def __str__(self) -> str:
        """Return the summary in one line."""
        return summary(self.results)
