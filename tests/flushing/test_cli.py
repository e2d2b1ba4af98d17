"""The ``flask signalbus`` commands: what they print, log, and exit with."""

import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask, current_app, g
from flask_sqlalchemy.record_queries import _listen as listen_for_queries
from flask_sqlalchemy.record_queries import get_recorded_queries
from sqlalchemy import insert

from support.broker import Broker
from support.models import Letter, Note, Pair, Parcel, Ticket, db
from support.signatures import AppFactory, DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus, get_models_to_flush

LOGGER = "swpt_pythonlib.flask_signalbus"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOGGER)
    return caplog


@pytest.fixture
def run(app: Flask) -> Any:
    """Return what runs a command in a process-like way."""

    def run(*args: str) -> Result:
        return app.test_cli_runner().invoke(args=["signalbus", *args])

    return run


def messages(log: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        r.getMessage()
        for r in log.records
        if r.levelno >= level and not r.getMessage().startswith("Flushing ")
    ]


def test_help_names_the_commands(run: Any) -> None:
    """C1: documented."""
    result = run("--help")

    assert result.exit_code == 0
    assert {"flushmany", "signals", "pending"} <= set(result.output.split())


def test_flushmany_sends_everything_that_is_pending(
    run: Any, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """C1: documented; it logs what it does, and prints nothing."""
    record(Note, "a", "b")
    record(Parcel, "c")

    result = run("flushmany")

    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(broker.sent) == ["a", "b", "c"]
    assert messages(log) == [
        "Started flushing Letter, Note, Pair, Parcel, Ticket.",
        "3 signals have been successfully processed.",
    ]


def test_flushmany_sends_the_named_types_only(
    run: Any, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """C1, C3: documented; an unknown name is a warning."""
    record(Note, "a")
    record(Parcel, "b")

    result = run("flushmany", "Odrer", "Parcel")

    assert result.exit_code == 1
    assert broker.sent == ["b"]
    assert messages(log, logging.WARNING) == [
        'A signal with name "Odrer" does not exist.'
    ]


def test_nothing_is_flushed_for_an_unknown_name(
    run: Any, broker: Broker, record: Record, pending: Pending
) -> None:
    """C1: above all not everything."""
    record(Note, "a")

    result = run("flushmany", "Odrer")

    assert result.exit_code == 1
    assert broker.calls == []
    assert pending(Note) == ["a"]


def test_an_error_is_logged_with_its_traceback_and_is_exit_status_1(
    run: Any, broker: Broker, record: Record, log: pytest.LogCaptureFixture
) -> None:
    """C1."""
    record(Note, "a")
    broker.go_down()

    result = run("flushmany")

    (caught,) = [r for r in log.records if r.getMessage().startswith("Caught")]
    assert (result.exit_code, result.stdout) == (1, "")
    assert caught.getMessage() == "Caught error while sending pending signals."
    assert caught.exc_info


class EnoughError(Exception):
    """The test has seen enough."""


def test_repeat_flushes_again_and_again(
    run: Any, app: Flask, record: Record, broker: Broker
) -> None:
    """C1: and goes on after an error."""
    passes: list[str] = []

    def end(_: BaseException | None) -> None:
        passes.append("")
        if len(passes) == 2:
            broker.go_down()
            record(Note, "b")
        if len(passes) == 5:
            broker.recover()
        if len(passes) == 8:
            signal.raise_signal(signal.SIGTERM)

    app.teardown_appcontext(end)
    record(Note, "a")

    result = run("flushmany", "--repeat", "0.01")

    assert result.exit_code == 0
    assert broker.sent == ["a", "b"]


def stop_after(
    passes: int, app: Flask, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Have the end of the last of some passes end the command."""
    contexts: list[str] = []

    def end(_: BaseException | None) -> None:
        contexts.append("")
        meanwhile()
        if len(contexts) == passes:
            signal.raise_signal(signal.SIGTERM)

    app.teardown_appcontext(end)


def test_each_pass_ends_an_application_context_of_its_own(
    app: Flask,
    run: Any,
    broker: Broker,
    record: Record,
) -> None:
    """W4: with the teardown functions, also when the pass has failed."""
    ended: list[str] = []
    app.teardown_appcontext(lambda _: ended.append(g.pop("left", "nothing")))
    broker.meanwhile = lambda text: g.setdefault("left", text)
    broker.refuse("a")
    stop_after(3, app, broker.recover)
    record(Note, "a")

    run("flushmany", "--repeat", "0.01")

    assert ended[:3] == ["a", "a", "nothing"]


def test_what_is_kept_for_a_pass_does_not_grow(app: Flask, run: Any) -> None:
    """W4: Flask-SQLAlchemy keeps the queries of a context, if it is told to."""
    kept: list[int] = []
    listen_for_queries(db.engine)
    app.teardown_appcontext(lambda _: kept.append(len(get_recorded_queries())))
    stop_after(3, app)

    run("flushmany", "--repeat", "0.01")

    assert kept[0] > 0
    assert kept[1] == kept[2] <= kept[0]


def test_a_failing_teardown_function_is_logged(
    app: Flask, run: Any, log: pytest.LogCaptureFixture
) -> None:
    """It must not end a command that repeats."""

    def fail(_: BaseException | None) -> None:
        raise EnoughError

    app.teardown_appcontext(fail)

    result = run("flushmany")

    app.teardown_appcontext_funcs.remove(fail)
    assert result.exit_code == 1
    assert messages(log)[1:] == [
        "0 signals have been successfully processed.",
        "Caught error while sending pending signals.",
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf"])
def test_repeat_takes_a_positive_number_of_seconds(run: Any, seconds: str) -> None:
    """C1: anything else is a usage error."""
    result = run("flushmany", "-r", seconds)

    assert result.exit_code == 2
    assert "--repeat" in result.output


def test_signals_prints_one_name_a_line(run: Any) -> None:
    """C2."""
    assert run("signals").stdout == "Letter\nNote\nPair\nParcel\nTicket\n"


def test_check_finds_no_mistake_in_a_good_model(run: Any) -> None:
    """C1: the static checks of the conformance kit."""
    result = run("check", "Note")

    assert result.exit_code == 0
    assert result.stdout.startswith("signal models: 1 models, ")


def test_check_names_the_mistake_and_is_exit_status_1(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1, S2: before the flush would."""
    monkeypatch.setattr(Note, "signalbus_burst_count", "5")

    result = run("check")

    assert result.exit_code == 1
    assert "check_burst_count_is_positive_int" in result.stdout
    assert "Note" in result.stdout


@pytest.mark.parametrize("names", [["Odrer"], ["Odrer", "Note"]])
def test_check_of_an_unknown_name_is_exit_status_1(run: Any, names: list[str]) -> None:
    """C1: in a pipeline, nobody reads a warning."""
    result = run("check", *names)

    checked = 1 if "Note" in names else 0
    assert result.exit_code == 1
    assert f"signal models: {checked} models, " in result.stdout


def test_that_there_are_no_signal_models_is_a_warning(
    make_db: DBFactory, log: pytest.LogCaptureFixture
) -> None:
    """C1: most likely, their modules have not been imported."""
    make_db()
    run = current_app.test_cli_runner().invoke

    checked = run(args=["signalbus", "check"])
    flushed = run(args=["signalbus", "flushmany"])

    warning = (
        "There are no signal models; import their modules first. A signal model is a"
        " model with a class method 'send_signalbus_message'."
    )
    assert (checked.exit_code, flushed.exit_code) == (1, 0)
    assert checked.stdout == "signal models: 0 models, 0 checks\n"
    assert messages(log, logging.WARNING) == [warning, warning]


def make_model(db: Any, name: str, sender: str) -> type:
    columns: dict[str, Any] = {"id": sa.Column(sa.Integer, primary_key=True)}
    columns[sender] = classmethod(lambda cls, signal: None)
    return type(name, (db.Model,), columns)


@pytest.mark.parametrize("name", ["send_signalbus_messages", "send_signal_message"])
def test_a_misspelt_sender_is_named_and_is_a_mistake(
    make_db: DBFactory, log: pytest.LogCaptureFixture, name: str
) -> None:
    """C1: or else its model is no signal model, and nobody misses its signals."""
    db = make_db()
    models = [
        make_model(db, "Good", "send_signalbus_message"),
        make_model(db, "Bad", name),
    ]

    checked = current_app.test_cli_runner().invoke(args=["signalbus", "check"])

    assert (len(models), checked.exit_code) == (2, 1)
    assert messages(log, logging.WARNING) == [
        f"'Bad.{name}' is not a sender, so that its model sends nothing. The name of a"
        f" sender is 'send_signalbus_message'."
    ]


def test_pending_prints_the_counts_in_ascending_order(run: Any) -> None:
    """C2: those that are not zero, and their sum."""
    db.session.execute(insert(Note), [{"text": "x"}] * 12)
    db.session.execute(insert(Parcel), [{"text": "x"}] * 3)
    db.session.commit()

    result = run("pending")

    assert result.stdout.splitlines() == [
        ' 3 of type "Parcel"',
        '12 of type "Note"',
        "-------------------------",
        "Total pending: 15",
    ]


def test_pending_prints_a_total_of_zero(run: Any) -> None:
    """C2."""
    assert run("pending").stdout == "-------------------------\nTotal pending: 0\n"


@pytest.mark.parametrize(
    ("names", "models"),
    [
        ([], [Letter, Note, Pair, Parcel, Ticket]),
        (["Parcel", "Note", "Parcel"], [Note, Parcel]),
        (iter(["Pair"]), [Pair]),
        ({"Odrer"}, []),
    ],
)
def test_get_models_to_flush_takes_any_iterable_of_names(
    bus: SignalBus, names: Any, models: list[Any]
) -> None:
    """C3: empty means all."""
    assert get_models_to_flush(bus, names) == models


def test_the_bus_is_found_on_the_database_and_on_the_app(app: Flask) -> None:
    """C4."""
    assert app.extensions["signalbus"] is db.signalbus


def test_a_second_bus_on_one_app_is_an_error(app: Flask) -> None:
    """C4."""
    with pytest.raises(RuntimeError, match="has a signal bus already"):
        SignalBus(db).init_app(app)

    assert app.extensions["signalbus"] is db.signalbus


def test_a_bus_without_its_database_is_an_error() -> None:
    """C4: the order matters."""
    with pytest.raises(RuntimeError, match=r"'db.init_app\(app\)' first"):
        SignalBus(db).init_app(Flask("bare"))


def test_a_bus_that_is_not_attached_to_the_app_does_not_flush(
    make_app: AppFactory,
) -> None:
    """C4: it would not notice uncommitted changes."""
    with make_app().app_context(), pytest.raises(RuntimeError, match="'init_app'"):
        SignalBus(db).flushmany()
