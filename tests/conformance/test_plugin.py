"""The plugin for an application's ordinary tests, in a suite of its own."""

import pytest

SUITE = """
import pytest
from flask import Flask

from conformance.applications import Database, make_app, signal_model
from swpt_pythonlib.flask_signalbus.testing import parametrize_signal_models

pytest_plugins = ["swpt_pythonlib.flask_signalbus.testing.plugin"]

db = Database()
Signal = signal_model(db)


@pytest.fixture
def app():
    app = make_app(db, "sqlite://")
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()


def record(app, *texts):
    with app.app_context():
        db.session.add_all([Signal(text=text) for text in texts])
        db.session.commit()
"""

CHECKS = """
@parametrize_signal_models(db)
def test_signal_model(check, app):
    check(app)
"""

FIXTURES = """
@pytest.mark.parametrize("something", ["else"])
def test_something(something):
    pass

def test_broker(signalbus_broker):
    signalbus_broker.accept("hello")
    assert signalbus_broker.sent == ["hello"]

def test_outbox(app, signalbus_outbox):
    record(app, "a", "b")
    signalbus_outbox.assert_recorded(Signal, 2)
    signalbus_outbox.assert_recorded(Signal, text="b")
    assert [signal.text for signal in signalbus_outbox.pending(Signal)] == ["a", "b"]
    assert signalbus_outbox.flush() == 2
    assert signalbus_outbox.pending(Signal) == []
    with pytest.raises(AssertionError, match="Pending: nothing"):
        signalbus_outbox.assert_recorded(Signal)
    record(app, "c")
    with pytest.raises(AssertionError, match="'text': 'c'"):
        signalbus_outbox.assert_recorded(Signal, text="d")

def test_stub(app, signalbus_outbox, signalbus_stub):
    recorder = signalbus_stub(Signal)
    record(app, "a", "b", "c", "d")
    signalbus_outbox.flush(Signal)
    assert [signal.text for signal in recorder.signals] == ["a", "b", "c", "d"]
    assert [sent.is_bulk for sent in recorder.accepted] == [True, False]

def test_single_stub(app, signalbus_outbox, signalbus_stub):
    recorder = signalbus_stub(Signal, bulk=False)
    record(app, "a", "b")
    signalbus_outbox.flush(Signal)
    assert [sent.is_bulk for sent in recorder.accepted] == [False, False]
"""


def test_the_fixtures_serve_ordinary_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_fixtures=SUITE + FIXTURES)
    pytester.makeconftest(
        "pytest_plugins = 'swpt_pythonlib.flask_signalbus.testing.plugin'"
    )

    result = pytester.runpytest_inprocess("-q")

    result.assert_outcomes(passed=5)
    result.stdout.no_fnmatch_line("signal models:*")


def test_the_summary_counts_the_checks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_checks=SUITE + CHECKS)

    result = pytester.runpytest_inprocess("-q", "-p", "no:randomly")

    result.assert_outcomes(passed=30, skipped=13)
    result.stdout.fnmatch_lines(
        "signal models: 1 models, 43 checks, 30 passed, 13 skipped "
        "(2 need a second connection, 1 needs row locks, 10 need a broker)"
    )
