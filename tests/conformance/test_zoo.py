"""No healthy model raises a false alarm, and none is skipped without need."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import make_app, signal_model
from conformance.healthy_senders import HABITS, Habit
from conformance.outboxes import OUTBOXES, outbox
from conformance.zoo import BASES, KEYS, Animal, Database, animals, elsewhere, siblings
from support.capabilities import LEVELS
from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    all_checks,
    check_signal_model,
)

ZOO = list(animals())


@pytest.mark.parametrize("animal", [pytest.param(each, id=str(each)) for each in ZOO])
def test_a_healthy_model_passes(
    animal: Animal,
    start: Callable[[SQLAlchemy], Flask],
    kit_broker: RecordingBroker,
    dialect_name: str,
) -> None:
    db = animal.database()
    model = animal.model(db)

    report = check_signal_model(model, start(db), broker=kit_broker, advice=True)

    skipped = {result.check for result in report.results if result.outcome == "skipped"}
    assert report.failures == []
    assert skipped <= {"check_two_flushers_share_the_work"}
    assert not (skipped and LEVELS[dialect_name])
    assert len(report.results) == len(all_checks()) - 3 * (not animal.has_bulk_sender)


@pytest.mark.parametrize("habit", [pytest.param(each, id=each.name) for each in HABITS])
def test_healthy_senders_pass(
    habit: Habit, start: Callable[[SQLAlchemy], Flask]
) -> None:
    db = Database()
    model = habit.model(db)
    app = start(db)
    app.extensions["broker"] = habit.broker()

    report = check_signal_model(model, app, broker=app.extensions["broker"])

    assert report.failures == []
    assert "blocked" not in str(report)


@pytest.mark.parametrize("name", OUTBOXES)
def test_a_well_known_outbox_passes(
    name: str, start: Callable[[SQLAlchemy], Flask], kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = outbox(db, name)

    report = check_signal_model(model, start(db), broker=kit_broker, advice=True)

    assert report.failures == []


def test_a_schema_may_be_translated(
    own_database_url: str, dialect_name: str, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = signal_model(db, __table_args__={"schema": "tenant"})
    app = make_app(
        db,
        own_database_url,
        broker=kit_broker,
        isolation_level="READ COMMITTED" if LEVELS[dialect_name] else None,
        schema_translate_map={"tenant": None},
    )
    with app.app_context():
        db.create_all()

    report = check_signal_model(model, app, broker=kit_broker)

    with app.app_context():
        db.drop_all()
        db.engine.dispose()
    assert report.failures == []


def test_siblings_in_one_table_pass(
    start: Callable[[SQLAlchemy], Flask], kit_broker: RecordingBroker
) -> None:
    db = Database()
    models = siblings(db)
    app = start(db)

    reports = [check_signal_model(model, app, broker=kit_broker) for model in models]

    assert [report.failures for report in reports] == [[], []]


def test_a_model_in_another_database_passes(
    start: Callable[[SQLAlchemy], Flask], kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = elsewhere(db)

    report = check_signal_model(model, start(db), broker=kit_broker)

    assert report.failures == []


def test_the_zoo_has_all_kinds() -> None:
    assert {animal.base for animal in ZOO} == set(BASES)
    assert {animal.key for animal in ZOO} == set(KEYS)
    assert len({(animal.has_bulk_sender, animal.burst) for animal in ZOO}) == 6
