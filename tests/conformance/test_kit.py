"""The kit itself: what it selects, refuses, reports and leaves behind."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import Database, make_app, signal_model
from conformance.buses import HonestBus
from swpt_pythonlib.flask_signalbus.testing import (
    CannotCheck,
    ConformanceFailure,
    RecordingBroker,
    all_checks,
    check_signal_model,
    parametrize_signal_models,
    signal_models,
    static_report,
)
from swpt_pythonlib.flask_signalbus.testing.parametrize import ModelCheck

Start = Callable[[SQLAlchemy], Flask]
ONE = "check_flush_empties_the_table"


def parameters(mark: pytest.MarkDecorator) -> dict[str, Any]:
    """Return the parameters of the decorator by their identifiers."""
    _, values = mark.args
    return {value.id: value for value in values}


def only(db: SQLAlchemy, check: str, **options: Any) -> ModelCheck:
    """Return a check of the only model, as a test would get it."""
    mark = parametrize_signal_models(db, **options)
    name = check.removeprefix("check_")
    found: ModelCheck = parameters(mark)[f"Signal-{name}"].values[0]
    return found


def test_the_checks_come_in_an_order_that_does_not_change() -> None:
    kinds = [check.kind for check in all_checks().values()]

    assert list(all_checks()) == list(all_checks())
    assert list(dict.fromkeys(kinds)) == ["static", "bus", "sender"]
    assert len(kinds) == 46


def test_every_check_has_a_rule_and_a_reason() -> None:
    for check in all_checks().values():
        assert check.rule.startswith("Check that ")
        assert check.why


def test_advice_is_off_unless_asked_for() -> None:
    advice = {name for name, check in all_checks().items() if check.is_advice}

    assert advice == {
        "check_send_emits_no_sql",
        "check_send_is_silent_about_order",
        "check_send_copes_with_null",
    }
    assert set(all_checks()) - set(all_checks(advice=False)) == advice


def test_the_checks_of_a_release_stay_the_same() -> None:
    of_the_first = all_checks("1.0")
    assert len(of_the_first) == 36
    assert {check.since for check in of_the_first.values()} == {"1.0"}
    assert all_checks("1.1") == all_checks("1.12") == all_checks()
    with pytest.raises(ValueError, match=r"no checks in the release '0\.9'"):
        all_checks("0.9")
    with pytest.raises(ValueError, match="'newest' is not a release"):
        all_checks("newest")


def test_models_are_sorted_by_module_and_name() -> None:
    db = Database()
    models = [
        signal_model(db, name=name, __module__=module)
        for module, name in (("b", "A"), ("a", "C"), ("a", "B"))
    ]

    assert signal_models(db) == models[::-1]


def test_tests_are_named_by_model_and_check() -> None:
    db = Database()
    _model = signal_model(db)

    names = list(parameters(parametrize_signal_models(db)))

    assert names[0] == "Signal-has_own_table_and_primary_key"
    assert len(names) == 43


def test_models_of_one_name_are_told_apart() -> None:
    db = Database()
    models = [
        signal_model(db, __tablename__=module, __module__=module)
        for module in ("a", "b")
    ]

    names = list(parameters(parametrize_signal_models(db)))

    assert signal_models(db) == models
    assert names[0] == "a.Signal-has_own_table_and_primary_key"
    assert len(set(names)) == len(names)


def test_checks_of_bulk_senders_need_one() -> None:
    db = Database()
    model = signal_model(db, send_signalbus_messages=None)
    del model.send_signalbus_messages

    names = parameters(parametrize_signal_models(db))

    assert "Signal-batch_equals_single" not in names
    assert "Signal-single_send_propagates_broker_errors" in names


def test_a_suite_without_models_is_an_error() -> None:
    with pytest.raises(ValueError, match="import their modules first"):
        parametrize_signal_models(Database())


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        pytest.param(ONE, " ", "without a reason", id="no reason"),
        pytest.param("check_x", "ISSUE-1", "no check named 'check_x'", id="no check"),
    ],
)
def test_an_expected_failure_must_make_sense(
    name: str, reason: str, message: str
) -> None:
    db = Database()
    model = signal_model(db)

    with pytest.raises(ValueError, match=message):
        parametrize_signal_models(db, expected_failures={(model, name): reason})


def test_an_expected_failure_of_a_stranger_is_an_error() -> None:
    db = Database()
    model = signal_model(db)

    with pytest.raises(ValueError, match=r"'builtins.int' is not a signal model"):
        parametrize_signal_models(db, expected_failures={(int, ONE): "ISSUE-1"})
    with pytest.raises(ValueError, match=r"'builtins.int' is not a signal model"):
        parametrize_signal_models(db, rows={int: model})


def test_an_expected_failure_must_happen_and_hides_nothing_else() -> None:
    db = Database()
    model = signal_model(db)

    mark = parametrize_signal_models(db, expected_failures={(model, ONE): "ISSUE-1"})

    (xfail,) = parameters(mark)["Signal-flush_empties_the_table"].marks
    assert xfail.kwargs == {
        "strict": True,
        "raises": ConformanceFailure,
        "reason": "ISSUE-1",
    }


def test_what_is_missing_is_said(start: Start) -> None:
    db = Database()
    _model = signal_model(db)

    with pytest.raises(
        pytest.skip.Exception, match=r"needs a broker: let a RecordingBroker"
    ):
        only(db, "check_batch_equals_single")(start(db))


def test_nothing_may_be_missing_if_all_is_required(start: Start) -> None:
    db = Database()
    _model = signal_model(db)

    with pytest.raises(CannotCheck, match="needs a broker"):
        only(db, "check_batch_equals_single", require_all=True)(start(db))


def test_a_static_failure_blocks_what_would_not_end(start: Start) -> None:
    db = Database()
    model = signal_model(db, signalbus_burst_count=0)

    report = check_signal_model(model, start(db))

    outcomes = {result.check: result for result in report.results}
    assert outcomes["check_burst_count_is_positive_int"].outcome == "failed"
    assert outcomes[ONE].outcome == "skipped"
    assert outcomes[ONE].reason == (
        "blocked by check_burst_count_is_positive_int: see its failure"
    )


def test_a_report_tells_it_all(start: Start) -> None:
    db = Database()
    model = signal_model(db, signalbus_burst_count=0)

    report = check_signal_model(model, start(db))

    assert str(report) == (
        "signal models: 1 models, 43 checks, 10 passed, 1 failed, 32 skipped "
        "(32 blocked by check_burst_count_is_positive_int)"
    )
    assert report.as_dict()["counts"] == {"passed": 10, "failed": 1, "skipped": 32}
    with pytest.raises(ConformanceFailure) as raised:
        report.raise_for_failures()
    assert str(raised.value).splitlines() == [
        "conformance.applications.Signal does not conform: "
        "check_burst_count_is_positive_int",
        "  found:    'signalbus_burst_count' is 0",
        "  expected: an int, 1 or more",
        "  why:      a flush of the model would raise instead of sending",
        "  docs:     testing.html#check-burst-count-is-positive-int",
    ]


def test_an_error_of_the_bus_is_a_failure(start: Start) -> None:
    class Raises(HonestBus):
        def flushmany(self, models: object = None) -> int:
            raise LookupError("no such signal")

    db = Database()
    _model = signal_model(db)
    app = start(db)
    app.extensions["signalbus"] = Raises(db)

    with pytest.raises(ConformanceFailure, match=r"flushmany raised LookupError\("):
        only(db, ONE)(app)


def test_the_static_checks_need_no_tables(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)

    with app.app_context():
        db.drop_all()
        report = static_report([model])

    assert {result.outcome for result in report.results} == {"passed"}
    report.raise_for_failures()


def test_tables_must_exist(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    with app.app_context():
        db.drop_all()

    with pytest.raises(CannotCheck, match=r"db\.create_all\(\)"):
        check_signal_model(model, app)


def test_a_table_in_use_is_left_alone(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    with app.app_context():
        db.session.add(model(text="precious"))
        db.session.commit()

    with pytest.raises(CannotCheck, match="holds 1 rows; it must be empty"):
        check_signal_model(model, app)

    with app.app_context():
        assert db.session.scalars(sa.select(model.text)).all() == ["precious"]


def test_the_table_of_another_model_is_left_alone(start: Start) -> None:
    db = Database()
    other, _model = signal_model(db, name="OtherSignal"), signal_model(db)
    app = start(db)
    with app.app_context():
        db.session.add(other(text="precious"))
        db.session.commit()

    with pytest.raises(CannotCheck, match="holds 1 rows; it must be empty"):
        only(db, "check_other_models_are_untouched")(app)


def test_an_application_without_a_bus_cannot_be_checked() -> None:
    db = Database()

    with pytest.raises(CannotCheck, match="has no extension 'signalbus'"):
        check_signal_model(signal_model(db), Flask("empty"))


def test_a_session_on_a_connection_cannot_be_checked(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    with app.app_context():
        engine = db.engine
        engines: Any = db.engines
        with engine.connect() as connection:
            engines[None] = connection
            with pytest.raises(CannotCheck, match="not to an engine"):
                check_signal_model(model, app)
            engines[None] = engine


def test_a_suite_that_never_commits_cannot_be_checked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database()
    _model = signal_model(db)
    app = start(db)
    monkeypatch.setattr(db.session, "commit", db.session.flush)

    with pytest.raises(CannotCheck, match=r"wraps db\.session in a transaction"):
        only(db, ONE)(app)


def test_rows_may_be_made_by_hand(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    texts: list[str] = []

    def make(i: int) -> Any:
        texts.append(f"by hand {i}")
        return model(text=texts[-1])

    only(db, ONE, rows={model: make})(start(db))

    assert texts[:2] == ["by hand 0", "by hand 1"]


def test_the_kit_leaves_nothing_behind(
    start: Start, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)
    before = dict(vars(model))

    check_signal_model(model, app, broker=kit_broker)

    with app.app_context():
        assert db.session.query(model).count() == 0
    assert dict(vars(model)) == before
    assert kit_broker.comparable() == kit_broker.sent


def test_a_database_in_memory_is_checked_as_far_as_it_goes() -> None:
    db = Database()
    model = signal_model(db)
    app = make_app(db, "sqlite://")
    with app.app_context():
        db.create_all()

    report = check_signal_model(model, app, broker=app.extensions["broker"])

    with app.app_context():
        db.engine.dispose()
    skipped = {
        result.check: result.reason for result in report.results if result.reason
    }
    assert list(skipped) == [
        "check_earlier_bursts_are_committed",
        "check_two_flushers_share_the_work",
        "check_two_flushers_lose_nothing",
    ]
    assert skipped["check_two_flushers_lose_nothing"].startswith(
        "needs a second connection: this database lives in memory; use a file"
    )


def test_the_kit_does_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None;"
        "import swpt_pythonlib.flask_signalbus.testing as testing;"
        "print(len(testing.all_checks()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("46\n", "")


def test_an_unknown_name_is_an_attribute_error() -> None:
    from swpt_pythonlib.flask_signalbus import testing

    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        _ = testing.unknown
