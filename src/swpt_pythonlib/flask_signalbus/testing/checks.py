"""Which checks there are, for which models, and how they are run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from .. import _models
from . import (
    checks_bus,
    checks_concurrency,
    checks_failures,
    checks_senders,
    checks_static,
)
from .broker import RecordingBroker
from .failures import ConformanceFailure, Finding
from .harness import Harness, RowFactory
from .registry import Check

_MODULES = (
    checks_static,
    checks_bus,
    checks_failures,
    checks_concurrency,
    checks_senders,
)

#: What a check may need, and how to get it.
_REMEDIES = {
    "broker": (
        "a broker",
        "let a RecordingBroker(error=…) stand in where the model publishes, and pass"
        " it as broker=",
    ),
    "second_connection": (
        "a second connection",
        "this database lives in memory; use a file, or a server",
    ),
    "row_locks": ("row locks", "use PostgreSQL, MySQL or MariaDB"),
}


def all_checks(checks: str | None = None, *, advice: bool = True) -> dict[str, Check]:
    """Return the checks by their names, the static ones first.

    :param checks: A release, like ``"1.0"``: only checks that it had.
    :param advice: Whether to include the checks that are mere advice.
    :raises ValueError: If there was no check in that release.

    .. versionadded:: 1.0
    """
    found = {
        check.name: check
        for module in _MODULES
        for check in vars(module).values()
        if isinstance(check, Check)
        and (checks is None or _version(check.since) <= _version(checks))
        and (advice or not check.is_advice)
    }
    if not found:
        raise ValueError(f"There were no checks in the release '{checks}'.")

    return found


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise ValueError(f"'{text}' is not a release like '1.0'.") from None


def signal_models(db: SQLAlchemy) -> list[type[Any]]:
    """Return the signal models of a database, sorted by module and name.

    Unlike ``get_signal_models()`` of the bus it needs no application. Models are
    known as soon as their module has been imported.

    .. versionadded:: 1.0
    """
    return sorted(_models.signal_models_of(db), key=full_name)


def full_name(model: type[Any]) -> str:
    """Return the name of a model, with its module."""
    return f"{model.__module__}.{model.__qualname__}"


@dataclass(frozen=True)
class Result:
    """What became of a check.

    .. versionadded:: 1.0
    """

    model: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


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
        return summary(
            (result.model, result.outcome, result.reason) for result in self.results
        )


def summary(results: Iterable[tuple[str, str, str]]) -> str:
    """Sum up models, outcomes and reasons in one line.

    >>> print(summary([("A", "passed", ""), ("A", "skipped", "needs a broker: ...")]))
    signal models: 1 models, 2 checks, 1 passed, 1 skipped (1 needs a broker)
    """
    results = list(results)
    models = {model for model, _, _ in results}
    outcomes = Counter(outcome for _, outcome, _ in results)
    counts = (f"{count} {outcome}" for outcome, count in outcomes.items())
    skips = Counter(
        reason.partition(":")[0]
        for _, outcome, reason in results
        if outcome == "skipped"
    )
    remarks = ", ".join(
        f"{count} {reason if count == 1 else reason.replace('needs', 'need', 1)}"
        for reason, count in skips.items()
    )
    totals = (f"{len(models)} models", f"{len(results)} checks", *counts)
    line = f"signal models: {', '.join(totals)}"
    return f"{line} ({remarks})" if remarks else line


def check_signal_model(
    model: type[Any],
    app: Flask,
    *,
    broker: RecordingBroker | None = None,
    rows: RowFactory | None = None,
    checks: str | None = None,
    advice: bool = False,
) -> Report:
    """Try all checks on a signal model, and report what became of them.

    The model's table must be empty, and is empty afterwards.

    :param broker: A fake that receives what the model's send methods publish;
        without it they are not called.
    :param rows: Makes the i-th row of the model; by default a sample row.
    :param checks: A release, like ``"1.0"``: only the checks that it had.
    :param advice: Whether to include the checks that are mere advice.
    :raises CannotCheck: If the application is not ready to be checked.

    .. versionadded:: 1.0
    """
    harness = Harness(model, app, broker=broker, rows=rows)
    return Report(
        tuple(
            result_of(check, harness)
            for check in all_checks(checks, advice=advice).values()
            if concerns(check, model)
        )
    )


def static_report(models: Iterable[type[Any]]) -> Report:
    """Try the checks that need no database, on models of the current application.

    .. versionadded:: 1.0
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return Report(
        tuple(
            result_of(check, Harness(model, app))
            for model in models
            for check in all_checks().values()
            if check.kind == "static"
        )
    )


def concerns(check: Check, model: type[Any]) -> bool:
    """Tell whether a check makes sense for a model."""
    return not check.of_bulk_sender or _models.has_bulk_sender(model)


def result_of(check: Check, harness: Harness) -> Result:
    """Try a check, unless something is missing."""
    name = full_name(harness.model)
    if obstacle := obstacle_to(check, harness):
        return Result(name, check.name, "skipped", obstacle)

    try:
        run(check, harness)
    except ConformanceFailure as failure:
        return Result(name, check.name, "failed", str(failure))

    return Result(name, check.name, "passed")


def obstacle_to(check: Check, harness: Harness) -> str | None:
    """Return why a check cannot be tried, if so, and what to do about it."""
    for earlier in _prerequisites_of(check):
        if _finding(earlier, harness):
            return f"blocked by {earlier.name}: see its failure"
    for need in check.needs:
        if not _has(harness, need):
            what, remedy = _REMEDIES[need]
            return f"needs {what}: {remedy} (see {check.anchor})"

    return None


def _prerequisites_of(check: Check) -> list[Check]:
    """Return the checks without which this one makes no sense, or never ends."""
    static = [other for other in all_checks().values() if other.kind == "static"]
    # Without a table there is nothing to look at.
    return [static[0]] * (check is not static[0]) if check in static else static


def _has(harness: Harness, need: str) -> bool:
    if need == "broker":
        return harness.has_broker

    has: bool = getattr(harness.capabilities, need)
    return has


def run(check: Check, harness: Harness) -> None:
    """Try a check.

    :raises ConformanceFailure: If the model does not pass.
    :raises CannotCheck: If the application is not ready to be checked.
    """
    __tracebackhide__ = True  # The message tells it all.
    if finding := _finding(check, harness):
        text = _explanation(check, harness, finding)
        raise ConformanceFailure(text) from finding.__cause__


def _finding(check: Check, harness: Harness) -> Finding | None:
    try:
        if check.kind == "static":
            with harness.app.app_context():
                check.run(harness)
        else:
            harness.broker.forget()
            with harness.clean_table():
                check.run(harness)
    except Finding as finding:
        return finding

    return None


def _explanation(check: Check, harness: Harness, finding: Finding) -> str:
    lines = {
        "found": finding.found,
        "expected": finding.expected,
        "why": check.why,
        "hint": finding.hint,
        "docs": check.anchor,
    }
    facts = [f"  {name + ':':9} {text}" for name, text in lines.items() if text]
    title = f"{full_name(harness.model)} does not conform: {check.name}"
    return "\n".join([title, *facts])
