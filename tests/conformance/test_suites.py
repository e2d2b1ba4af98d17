"""The kit in suites of every usual shape, each in a folder of its own."""

from pathlib import Path

import pytest

SUITE = """
import pytest
from flask import Flask

from conformance.applications import Database, make_app, signal_model
from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker, default_row, parametrize_signal_models
)

pytest_plugins = ["swpt_pythonlib.flask_signalbus.testing.plugin"]

db = Database()
Signal = signal_model(db)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    app = make_app(db, f"sqlite:///{tmp_path_factory.mktemp('db')}/x.db")
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()


def record(app, *texts):
    with app.app_context():
        db.session.add_all([Signal(text=text) for text in texts])
        db.session.commit()


def count(app):
    with app.app_context():
        return db.session.query(Signal).count()
"""

#: Fixtures named 'app', as applications have them.
SHAPES = {
    "the application alone": """
@pytest.fixture
def app(made):
    return made
""",
    "for the session": """
@pytest.fixture(scope="session")
def app(made):
    return made
""",
    "inside of its context": """
@pytest.fixture
def app(made):
    with made.app_context():
        yield made
""",
    "inside of a request": """
@pytest.fixture
def app(made):
    with made.test_request_context():
        yield made
""",
    "in a context that is pushed for the session": """
@pytest.fixture(scope="session")
def app(made):
    context = made.app_context()
    context.push()
    db.session.query(Signal).all()
    yield made
    context.pop()
""",
    "in memory": """
@pytest.fixture
def app():
    app = make_app(db, "sqlite://")
    with app.app_context():
        db.create_all()
        yield app
        db.engine.dispose()
""",
}

CHECKS = """
@pytest.fixture
def broker(app):
    app.extensions["broker"] = broker = RecordingBroker()
    return broker

@parametrize_signal_models(db)
def test_signal_model(check, app, broker):
    check(app, broker=broker)
"""

#: Ways to roll back whatever a test does.
WRAPPERS = {
    "a session on a connection": """
from sqlalchemy.orm import scoped_session, sessionmaker

@pytest.fixture(autouse=True)
def wrapped(made, monkeypatch):
    with made.app_context(), db.engine.connect() as connection:
        transaction = connection.begin()
        connection.exec_driver_sql("BEGIN")  # or its savepoints would commit
        session = scoped_session(
            sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
        )
        monkeypatch.setattr(db, "session", session)
        session.add(Signal(text="wrapped"))
        session.commit()
        yield
        session.remove()
        transaction.rollback()
""",
    "a connection in place of the engine": """
@pytest.fixture(autouse=True)
def wrapped(made):
    with made.app_context():
        engines = db.engines
        engine = engines[None]
        with engine.connect() as connection:
            transaction = connection.begin()
            engines[None] = connection
            yield
            db.session.remove()
            engines[None] = engine
            transaction.rollback()
""",
}

UNWRAPPED = """
@pytest.fixture
def app(made):
    return made

@parametrize_signal_models(db)
def test_signal_model(check, signalbus_app):
    made = signalbus_app.extensions["broker"] = RecordingBroker()
    check(signalbus_app, broker=made)

def test_it_is_wrapped_again(app, request):
    with app.app_context():
        db.session.add(Signal(text="rolled back"))
        db.session.commit()

def test_nothing_has_come_of_it(app, made, request):
    with made.app_context():
        texts = {signal.text for signal in db.session.query(Signal)}
    assert "rolled back" not in texts
"""

OUTBOX = """
@pytest.fixture
def app(made):
    return made

def test_what_a_test_leaves(app, signalbus_outbox):
    record(app, "a", "b")

def test_is_deleted_after_it(app):
    assert count(app) == 0
    record(app, "before")

def test_but_not_what_was_there_before(app, signalbus_outbox):
    record(app, "c")

def test_it(app, signalbus_outbox):
    assert [each.text for each in signalbus_outbox.pending(Signal)] == ["before"]

def test_all_can_be_cleared(app, signalbus_outbox):
    record(app, "d")
    assert signalbus_outbox.clear() == 2
    assert signalbus_outbox.clear(Signal) == 0

def test_a_session_that_is_left_open_is_in_nobodys_way(app, signalbus_outbox):
    context = app.app_context()
    context.push()
    record(app, "e")
    db.session.add(Signal(text="uncommitted"))
    db.session.flush()

def test_nothing_has_come_of_it(app):
    db.session.remove()
    assert count(app) == 0
    from flask.globals import app_ctx
    app_ctx.pop()
"""

MISPLACED = """
def test_something_else(signalbus_app):
    pass
"""

TROUBLE = """
@pytest.fixture
def app(made):
    return made

@parametrize_signal_models(db, rows=lambda model, i: model(txt="no such attribute"))
def test_signal_model(check, app):
    check(app)
"""

ROWS = """
@pytest.fixture
def app(made):
    return made

made_of = []

def make(model, i):
    made_of.append(model)
    return default_row(model, i, text=f"by hand {i}")

@parametrize_signal_models(db, rows=make)
def test_signal_model(check, app):
    check(app)

def test_all_rows_are_made_so():
    assert set(made_of) == {Signal}
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def run(suite: pytest.Pytester, *parts: str, options: str = "") -> pytest.RunResult:
    suite.makepyfile(test_it=SUITE + "".join(parts))
    arguments = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")
    return suite.runpytest_subprocess(*arguments, *options.split())


@pytest.mark.once
@pytest.mark.parametrize("shape", SHAPES)
def test_an_application_may_come_in_any_shape(
    suite: pytest.Pytester, shape: str
) -> None:
    result = run(suite, SHAPES[shape], CHECKS, options="-k flush")

    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped", "deselected"}
    assert outcomes["skipped"] == (2 if shape == "in memory" else 1)


@pytest.mark.once
def test_each_worker_has_its_database(suite: pytest.Pytester) -> None:
    result = run(suite, SHAPES["for the session"], CHECKS, options="-n 2")

    assert set(result.parseoutcomes()) == {"passed", "skipped"}


@pytest.mark.once
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_suite_that_never_commits_lends_its_application(
    suite: pytest.Pytester, wrapper: str
) -> None:
    result = run(suite, WRAPPERS[wrapper], UNWRAPPED)

    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped"}


@pytest.mark.once
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_without_that_it_is_told_once(suite: pytest.Pytester, wrapper: str) -> None:
    result = run(suite, WRAPPERS[wrapper], SHAPES["the application alone"], CHECKS)

    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines("*wraps db.session in a transaction*")
    result.stdout.fnmatch_lines("*signalbus_app*")


@pytest.mark.once
def test_the_outbox_is_left_as_it_was(suite: pytest.Pytester) -> None:
    result = run(suite, OUTBOX)

    result.assert_outcomes(passed=7)


@pytest.mark.once
def test_only_a_check_gets_the_unwrapped_application(suite: pytest.Pytester) -> None:
    result = run(suite, SHAPES["the application alone"], MISPLACED)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*is for tests that are decorated with*")


@pytest.mark.once
def test_one_trouble_is_one_error(suite: pytest.Pytester) -> None:
    result = run(suite, TROUBLE, options="-rs")

    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 1
    result.stdout.fnmatch_lines(
        "*blocked by check_nothing_is_sent_before_flush: see its error*"
    )


@pytest.mark.once
def test_one_function_may_make_all_rows(suite: pytest.Pytester) -> None:
    result = run(suite, ROWS)

    assert set(result.parseoutcomes()) == {"passed", "skipped"}
