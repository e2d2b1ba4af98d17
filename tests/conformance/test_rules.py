"""A mistake is found in the same words by the kit, the command, and the flush."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import Database, signal_model
from conformance.specimens import STATIC, Specimen
from swpt_pythonlib.flask_signalbus._model_rules import RULES
from swpt_pythonlib.flask_signalbus._rules import Candidate
from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    all_checks,
    check_signal_model,
    static_report,
)

Start = Callable[[SQLAlchemy], Flask]
DISCOVERED = [each for each in STATIC if each.name != "no table" and each.bus is None]


def by_name(specimens: list[Specimen]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "specimen", [pytest.param(each, id=each.name) for each in specimens]
    )


def refused_for(refusals: list[str]) -> AbstractContextManager[Any]:
    """Expect an error with the first of the messages, or none if there are none."""
    if not refusals:
        return nullcontext()

    return pytest.raises((RuntimeError, ValueError), match=re.escape(refusals[0]))


@by_name(list(STATIC))
def test_the_static_report_is_a_part_of_the_whole_one(
    specimen: Specimen, start: Start, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = specimen.model(db)
    app = start(db)
    if specimen.bus is not None:
        app.extensions["signalbus"] = specimen.bus(db)

    whole = check_signal_model(model, app, broker=kit_broker)
    with app.app_context():
        part = static_report([model])

    static = {name for name, check in all_checks().items() if check.kind == "static"}
    assert part.results == tuple(
        result for result in whole.results if result.check in static
    )


@by_name(DISCOVERED)
def test_the_command_prints_what_the_kit_reports(
    specimen: Specimen, start: Start
) -> None:
    db = Database()
    model = specimen.model(db)
    app = start(db)

    printed = app.test_cli_runner().invoke(args=["signalbus", "check", model.__name__])

    with app.app_context():
        report = static_report([model])
    reasons = [failure.reason for failure in report.failures]
    assert printed.stdout.splitlines() == "\n".join([*reasons, str(report)]).split("\n")
    assert printed.exit_code == 1


@by_name(DISCOVERED)
def test_a_flush_refuses_a_model_for_what_the_rules_find(
    specimen: Specimen, start: Start
) -> None:
    """In the very words of the rule, if it is one of those that a flush relies on."""
    db = Database()
    model = specimen.model(db)
    app = start(db)

    with app.app_context():
        faults = [rule.fault_of(Candidate(model)) for rule in RULES]
        refusals = [fault.refusal for fault in faults if fault and fault.refusal]
        with refused_for(refusals):
            db.signalbus.flushmany([model])


def test_a_healthy_model_breaks_no_rule() -> None:
    db = Database()
    model = signal_model(db)
    candidate = Candidate(model, lambda: [model])

    assert [rule.fault_of(candidate) for rule in RULES] == [None] * len(RULES)
