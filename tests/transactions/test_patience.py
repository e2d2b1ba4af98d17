"""How often a block that loses races is executed, and how long it pauses."""

import logging
import time

import pytest
from flask import Flask

from support.models import Account, db
from support.races import Race
from support.signatures import AppFactory, Stored
from swpt_pythonlib.flask_signalbus import DBSerializationError, RetryPolicy


def test_the_last_conflict_is_raised_when_the_attempts_run_out(
    app: Flask, stored: Stored
) -> None:
    """A8: itself, not another error."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=3, first_pause=0.0)
    race = Race(losses=99)

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        race.run()

    with pytest.raises(DBSerializationError, match="lost race 3"):
        block()

    assert race.runs == 3
    assert stored() == {}


def test_the_configured_policy_comes_before_that_of_the_class(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: the policy of the class is what there is without a configuration."""
    app = make_app()
    impatient = RetryPolicy(attempts=2, first_pause=0.0)
    monkeypatch.setattr(type(db), "retry_policy", impatient)
    configured, unconfigured = Race(losses=99), Race(losses=99)

    with app.app_context():
        app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=4, first_pause=0.0)
        with pytest.raises(DBSerializationError):
            db.execute_atomic(configured.run)
        del app.config["SIGNALBUS_RETRY_POLICY"]
        with pytest.raises(DBSerializationError):
            db.execute_atomic(unconfigured.run)

    assert (configured.runs, unconfigured.runs) == (4, 2)


def test_a_policy_that_is_none_is_refused(app: Flask) -> None:
    """A8: before anything is executed."""
    app.config["SIGNALBUS_RETRY_POLICY"] = 5
    race = Race(losses=0)

    with pytest.raises(TypeError, match="must be a 'RetryPolicy', got 5"):
        db.execute_atomic(race.run)

    assert race.runs == 0


def test_the_pauses_are_those_of_the_policy(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: no transaction is open meanwhile."""

    class Certain(RetryPolicy):
        def pause_after(self, failures: int, elapsed: float = 0.0) -> float | None:
            return self.longest_pause_after(failures)

    pauses = []

    def sleep(seconds: float) -> None:
        assert not db.session().in_transaction()
        pauses.append(seconds)

    app.config["SIGNALBUS_RETRY_POLICY"] = Certain(attempts=9, longest_pause=0.05)
    monkeypatch.setattr(time, "sleep", sleep)
    db.execute_atomic(Race(losses=5).run)

    assert pauses == [0.0, 0.02, 0.04, 0.05, 0.05]


def test_each_repetition_is_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A8: as a warning, but the last failure is raised instead."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=3, first_pause=0.0)

    with (
        caplog.at_level(logging.DEBUG, "swpt_pythonlib"),
        pytest.raises(DBSerializationError),
    ):
        db.execute_atomic(Race(losses=99).run)

    facts = [vars(record)["signalbus_failures"] for record in caplog.records]
    assert facts == [1, 2]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
