"""How checks are tried, one by one or all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Flask, current_app

from .._models import full_name
from .._reports import Result, blocked_by, explanation, judge
from . import checks_database, checks_static
from .broker import RecordingBroker
from .catalogue import all_checks, concerns
from .checks_senders import (
    check_one_accepted_message_per_row,
    check_send_needs_columns_only,
)
from .definition import Check
from .failures import ConformanceFailure, Finding
from .harness import Harness
from .reports import Report
from .row_source import RowFactory
from .subject import Need

#: What a check may need, and how to get it.
_REMEDIES: dict[Need, tuple[str, str]] = {
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
    harness = Harness(model, app, broker=broker, rows=rows, release=checks)
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
            result
            for model in models
            for result in judge(model, Harness(model, app).list_models)
        )
    )


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
    for earlier in _prerequisites_of(check, harness):
        if finding_of(earlier, harness):
            return blocked_by(earlier.name)
    for need in check.needs:
        if not harness.has(need):
            what, remedy = _REMEDIES[need]
            return f"needs {what}: {remedy} (see {check.anchor})"

    return _earlier_failure(check, harness) if check.kind == "sender" else None


def _earlier_failure(check: Check, harness: Harness) -> str | None:
    """Return why a check would only repeat what another one has found."""
    first, second = check_send_needs_columns_only, check_one_accepted_message_per_row
    if check is first:
        return None
    # A sender that cannot cope with the rows fails once, and not in each check.
    if finding := finding_of(first, harness):
        return _blocked_by(first, finding)
    if check is second:
        return None
    # So does one that has never asked the fake.
    finding = finding_of(second, harness)
    if finding and finding.brief:
        return _blocked_by(second, finding)

    tried = all_checks(harness.release).values()
    for earlier in check.after:
        if earlier in tried and concerns(earlier, harness.model):
            if obstacle := _earlier_failure(earlier, harness):
                return obstacle
            if finding := finding_of(earlier, harness):
                return _blocked_by(earlier, finding)

    return None


def _blocked_by(earlier: Check, finding: Finding) -> str:
    brief = f"; {finding.brief}" if finding.brief else ""
    return f"{blocked_by(earlier.name)}{brief}"


def _prerequisites_of(check: Check, harness: Harness) -> tuple[Check, ...]:
    """Return the checks without which this one makes no sense, or never ends."""
    # Without a table there is nothing to look at.
    first = checks_static.CHECKS[0]
    if check is first:
        return ()
    if check.kind == "static":
        return (first,)
    if not check.records:
        return checks_static.CHECKS

    # A check that a release did not have may not stand in the way of those it had.
    tried = all_checks(harness.release).values()
    looking = (each for each in checks_database.PREREQUISITES if each in tried)
    return (*checks_static.CHECKS, *looking)


def run(check: Check, harness: Harness) -> None:
    """Try a check.

    :raises ConformanceFailure: If the model does not pass.
    :raises CannotCheck: If the application is not ready to be checked.
    """
    __tracebackhide__ = True  # The message says everything.
    if finding := finding_of(check, harness):
        name, why = full_name(harness.model), finding.why or check.why
        text = explanation(name, check.name, why=why, fault=finding.fault)
        raise ConformanceFailure(text) from finding.__cause__


def finding_of(check: Check, harness: Harness) -> Finding | None:
    """Try a check, unless it was tried already; return what it finds.

    :raises CannotCheck: If the application is not ready to be checked.
    """
    if check.name not in harness.findings:
        harness.findings[check.name] = _tried(check, harness)

    return harness.findings[check.name]


def _tried(check: Check, harness: Harness) -> Finding | None:
    try:
        if check.records:
            harness.broker.forget()
            with harness.clean_table():
                check.run(harness)
        else:
            with harness.app.app_context():
                check.run(harness)
    except Finding as finding:
        return finding

    return None
