"""The gate for skips: only the table of capabilities may leave tests out."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from servers.hooks import Row

#: How a worker's report tells the controller what the database lacked.
_LACKED = "signalbus_lacked"
#: How it tells that a test is run once, with another database.
_ELSEWHERE = "signalbus_elsewhere"

#: Options that leave tests out on purpose.
_SELECTIONS = (
    "keyword",
    "markexpr",
    "lf",
    "deselect",
    "ignore",
    "ignore_glob",
    "stepwise",
    "maxfail",
)


class Requirements:
    """Skips the tests that are not for a row of the matrix."""

    def __init__(self, row: Row) -> None:
        self._row = row

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test, and say why, if it is not for this row."""
        self._skip_if_run_elsewhere(item)
        self._skip_if_row_lacks_what_it_requires(item)

    def _skip_if_run_elsewhere(self, item: pytest.Item) -> None:
        if item.get_closest_marker("once") and not self._row.runs_once:
            item.user_properties.append((_ELSEWHERE, True))
            pytest.skip("needs no database; it is run once, with another one")

    def _skip_if_row_lacks_what_it_requires(self, item: pytest.Item) -> None:
        required = [
            name for marker in item.iter_markers("requires") for name in marker.args
        ]
        known = self._row.capabilities | self._row.missing
        if unknown := sorted(set(required) - known):
            pytest.fail(
                f"The test requires {', '.join(unknown)}, which the table of "
                f"capabilities does not know. Known: {', '.join(sorted(known))}."
            )

        lacked = sorted(self._row.missing.intersection(required))
        if lacked:
            item.user_properties.extend((_LACKED, name) for name in lacked)
            pytest.skip(f"{self._row.dialect} lacks {', '.join(lacked)}")


class Gate:
    """Counts the outcomes of a run, and makes it red for skips out of the table.

    It sits in the controller, to which pytest-xdist brings all reports.
    """

    def __init__(self, row: Row, title: str) -> None:
        self._row = row
        self._title = title
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._lacked: set[str] = set()
        self._strangers: list[str] = []
        self._complaints: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note_skip(report, report.user_properties)
        elif report.failed:
            self._outcomes["failed"] += 1
        elif report.when == "call":
            self._outcomes["xfailed" if report.skipped else "passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notice a module that skips itself."""
        if report.skipped:
            self._note_skip(report, [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Make the run red if it left out what it should not have."""
        self._complaints = [
            f"{skip}: the table of capabilities doesn't allow this skip."
            for skip in self._strangers
        ]
        if exitstatus == pytest.ExitCode.OK and _is_complete(session.config):
            self._complaints += [
                f"{name!r} is missing from {self._row.dialect}, but no test requires "
                f"it. Remove it from the table of capabilities, or test it."
                for name in sorted(self._row.missing - self._lacked)
            ]
        if self._complaints and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Sum up the run in a few lines."""
        terminalreporter.section(f"signalbus: {self._title}")
        for line in self._summary():
            terminalreporter.line(line)
        for complaint in self._complaints:
            terminalreporter.line(complaint, red=True)

    def _summary(self) -> Iterator[str]:
        yield ", ".join(
            f"{self._outcomes[outcome]} {outcome}"
            for outcome in ("passed", "failed", "skipped", "xfailed")
            if outcome != "xfailed" or self._outcomes[outcome]
        )
        for reason, count in sorted(self._reasons.items()):
            yield f"  {count} skipped: {reason}"

    def _note_skip(
        self,
        report: pytest.TestReport | pytest.CollectReport,
        properties: Sequence[tuple[str, object]],
    ) -> None:
        lacked = {str(value) for name, value in properties if name == _LACKED}
        reason = _reason_of(report)
        is_run_elsewhere = any(name == _ELSEWHERE for name, _ in properties)
        self._outcomes["skipped"] += 1
        self._reasons[reason] += 1
        self._lacked |= lacked
        if not (lacked or is_run_elsewhere):
            self._strangers.append(f"{report.nodeid} ({reason})")


def _reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "?"
    return reason.removeprefix("Skipped: ")


def _is_complete(config: pytest.Config) -> bool:
    """Tell whether the whole suite was asked for."""
    return config.args == config.getini("testpaths") and not any(
        config.getoption(name, None) for name in _SELECTIONS
    )
