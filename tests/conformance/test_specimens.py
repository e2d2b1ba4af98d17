"""Whatever is broken is caught, by the checks that are meant for it and no others."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import Database, signal_model
from conformance.buses import HonestBus
from conformance.specimens import BUSES, SENDERS, STATIC, TABLES, Specimen
from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    all_checks,
    check_signal_model,
)
from swpt_pythonlib.flask_signalbus.testing.catalogue import concerns
from swpt_pythonlib.flask_signalbus.testing.harness import Harness
from swpt_pythonlib.flask_signalbus.testing.runner import obstacle_to, result_of

Start = Callable[[SQLAlchemy], Flask]

_FIRST = "check_nothing_is_sent_before_flush"


def failures_of(
    specimen: Specimen, start: Start, broker: RecordingBroker | None, *kinds: str
) -> tuple[set[str], set[str]]:
    """Return the checks that failed, and all that were tried, of some kinds."""
    db = Database()
    model = specimen.model(db)
    app = start(db)
    if specimen.bus is not None:
        app.extensions["signalbus"] = specimen.bus(db)
    harness = Harness(model, app, broker=broker)
    results = [
        result_of(check, harness)
        for check in all_checks().values()
        if check.kind in kinds and concerns(check, model)
    ]
    failed = {result.check for result in results if result.outcome == "failed"}
    tried = {result.check for result in results if result.outcome != "skipped"}
    return failed, tried


def _marks(requires: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.requires(*requires)] if requires else []


def by_name(specimens: tuple[Specimen, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "specimen",
        [
            pytest.param(each, id=each.name, marks=_marks(each.requires))
            for each in specimens
        ],
    )


@by_name(STATIC)
def test_a_broken_model_is_caught_without_a_database(
    specimen: Specimen, start: Start, kit_broker: RecordingBroker
) -> None:
    failed, tried = failures_of(specimen, start, kit_broker, "static", "bus", "sender")

    assert failed == specimen.caught_by
    assert {all_checks()[name].kind for name in tried} == {"static"}


@by_name(TABLES)
def test_a_table_that_is_not_as_the_model_says_is_caught(
    specimen: Specimen, start: Start
) -> None:
    db = Database()
    harness = Harness(specimen.model(db), start(db))

    results = [
        result_of(check, harness)
        for check in all_checks().values()
        if not check.records
    ]

    failed = {result.check for result in results if result.outcome == "failed"}
    assert failed == specimen.caught_by


@by_name(TABLES[:1])
def test_no_rows_are_recorded_where_no_flush_can_work(
    specimen: Specimen, start: Start
) -> None:
    db = Database()
    report = check_signal_model(specimen.model(db), start(db))

    outcomes = {
        result.check: result.outcome
        for result in report.results
        if all_checks()[result.check].records
    }
    assert set(outcomes.values()) == {"skipped"}
    assert "blocked by check_rights_suffice" in str(report)


@by_name(TABLES[1:2])
def test_a_newer_check_does_not_block_those_of_a_release(
    specimen: Specimen, start: Start
) -> None:
    """A suite that is frozen gets what it got when it was."""
    db = Database()
    harness = Harness(specimen.model(db), start(db), release="1.0")
    (check,) = (each for each in all_checks().values() if each.name == _FIRST)

    assert obstacle_to(check, harness) is None
    assert obstacle_to(check, Harness(harness.model, harness.app)) == (
        "blocked by check_flush_walks_an_index: see its failure"
    )


@by_name(BUSES)
def test_a_broken_bus_is_caught(specimen: Specimen, start: Start) -> None:
    failed, tried = failures_of(specimen, start, None, "static", "bus")

    assert failed == specimen.caught_by & tried


@by_name(SENDERS)
def test_a_broken_send_method_is_caught(
    specimen: Specimen, start: Start, kit_broker: RecordingBroker
) -> None:
    failed, _ = failures_of(specimen, start, kit_broker, "static", "sender")

    assert failed == specimen.caught_by


def test_every_check_catches_something() -> None:
    caught_by = [
        specimen.caught_by for specimen in (*STATIC, *TABLES, *BUSES, *SENDERS)
    ]

    assert set(all_checks()) == frozenset().union(*caught_by)


def test_the_obvious_bus_is_healthy(start: Start, kit_broker: RecordingBroker) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    app.extensions["signalbus"] = HonestBus(db)

    report = check_signal_model(model, app, broker=kit_broker, advice=True)

    assert report.failures == []
