"""Whatever is broken is caught, by the checks that are meant for it and no others."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import Database, signal_model
from conformance.buses import HonestBus
from conformance.specimens import BUSES, SENDERS, STATIC, Specimen
from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    all_checks,
    check_signal_model,
)
from swpt_pythonlib.flask_signalbus.testing.catalogue import concerns
from swpt_pythonlib.flask_signalbus.testing.harness import Harness
from swpt_pythonlib.flask_signalbus.testing.runner import result_of

Start = Callable[[SQLAlchemy], Flask]


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


def by_name(specimens: tuple[Specimen, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "specimen", [pytest.param(each, id=each.name) for each in specimens]
    )


@by_name(STATIC)
def test_a_broken_model_is_caught_without_a_database(
    specimen: Specimen, start: Start, kit_broker: RecordingBroker
) -> None:
    failed, tried = failures_of(specimen, start, kit_broker, "static", "bus", "sender")

    assert failed == specimen.caught_by
    assert {all_checks()[name].kind for name in tried} == {"static"}


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
    caught_by = [specimen.caught_by for specimen in (*STATIC, *BUSES, *SENDERS)]

    assert set(all_checks()) == frozenset().union(*caught_by)


def test_the_obvious_bus_is_healthy(start: Start, kit_broker: RecordingBroker) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    app.extensions["signalbus"] = HonestBus(db)

    report = check_signal_model(model, app, broker=kit_broker, advice=True)

    assert report.failures == []
