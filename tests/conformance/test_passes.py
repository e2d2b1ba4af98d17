"""A check passes only if what it is about has happened."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import LEFT_OUT, Database, publish, signal_model
from swpt_pythonlib.flask_signalbus import SignalsRefused
from swpt_pythonlib.flask_signalbus.testing import (
    CannotCheck,
    RecordingBroker,
    Result,
    check_signal_model,
)
from swpt_pythonlib.flask_signalbus.testing.harness import Harness

Start = Callable[[SQLAlchemy], Flask]

SINGLE = "check_single_send_propagates_broker_errors"
ACCEPTED = "check_one_accepted_message_per_row"


def results_of(
    start: Start, broker: RecordingBroker, send: Any, bulk: Any = LEFT_OUT
) -> dict[str, Result]:
    db = Database()
    model = signal_model(
        db,
        send_signalbus_message=classmethod(send),
        send_signalbus_messages=bulk if bulk is LEFT_OUT else classmethod(bulk),
    )
    report = check_signal_model(model, start(db), broker=broker)
    return {result.check: result for result in report.results}


def failures_in(results: dict[str, Result]) -> set[str]:
    return {name for name, result in results.items() if result.outcome == "failed"}


def test_a_client_that_is_not_faked_is_no_error_of_the_broker(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: Any, signal: Any) -> None:
        raise ConnectionError("connection refused")

    results = results_of(start, kit_broker, send)

    assert failures_in(results) == {"check_send_needs_columns_only"}
    assert results[SINGLE].outcome == "skipped"
    for name in (SINGLE, ACCEPTED):
        assert results[name].reason.endswith("the broker fake was not called")


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        pytest.param(False, "before the broker fake could refuse", id="not asked"),
        pytest.param(True, "raised RuntimeError('quota')", id="asked, and ignored"),
    ],
)
def test_an_error_that_would_be_raised_anyway_proves_nothing(
    start: Start, kit_broker: RecordingBroker, asks: bool, words: str
) -> None:
    """The sender fails whenever it gets a signal again."""
    seen = set()

    def send(cls: Any, signal: Any) -> None:
        if signal.text not in seen:
            seen.add(signal.text)
            publish(signal.text)
            return

        if asks:
            with suppress(Exception):
                publish(signal.text)
        raise RuntimeError("quota")

    results = results_of(start, kit_broker, send)

    assert results[SINGLE].outcome == "failed"
    assert words in results[SINGLE].reason


def test_a_frozen_suite_reaches_what_it_has_always_reached(
    start: Start, kit_broker: RecordingBroker
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send(cls: Any, signal: Any) -> None:
            socket.create_connection(server.getsockname(), timeout=5).close()
            publish(signal.text)

        db = Database()
        model = signal_model(
            db,
            send_signalbus_message=classmethod(send),
            send_signalbus_messages=LEFT_OUT,
        )
        app = start(db)
        frozen = check_signal_model(model, app, broker=kit_broker, checks="1.0")
        current = check_signal_model(model, app, broker=kit_broker)

    assert frozen.failures == []
    assert "reached for the network" in current.failures[0].reason


def test_a_sender_that_forgets_some_signals_is_found(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: Any, signal: Any) -> None:
        if int(signal.text[-1]) % 2:
            publish(signal.text)

    results = results_of(start, kit_broker, send)

    assert failures_in(results) == {ACCEPTED}


def test_messages_that_are_all_the_same_tell_nothing_of_who_was_refused(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: Any, signal: Any) -> None:
        publish("something has changed")

    def send_many(cls: Any, signals: Iterable[Any]) -> None:
        refused = []
        for signal in signals:
            try:
                publish("something has changed")
            except Exception:
                refused.append(signal)
        if refused:
            raise SignalsRefused(refused)

    results = results_of(start, kit_broker, send, send_many)

    name = "check_real_flush_keeps_what_is_refused"
    assert failures_in(results) == {name}
    assert "nobody can tell whether 'SignalsRefused' names the right" in (
        results[name].reason
    )


@pytest.mark.parametrize(
    ("named", "words"),
    [
        pytest.param(slice(1), "deleted 1 of 3 rows when everything was", id="one"),
        pytest.param(slice(None), "", id="all"),
    ],
)
def test_all_that_were_refused_must_be_named(
    start: Start, kit_broker: RecordingBroker, named: slice, words: str
) -> None:
    def send(cls: Any, signal: Any) -> None:
        publish(signal.text)

    def send_many(cls: Any, signals: Iterable[Any]) -> None:
        refused = []
        for signal in signals:
            try:
                publish(signal.text)
            except Exception:
                refused.append(signal)
        if refused:
            raise SignalsRefused(refused[named])

    results = results_of(start, kit_broker, send, send_many)

    reasons = [results[name].reason for name in failures_in(results)]
    assert len(reasons) == bool(words)
    assert all(words in reason for reason in reasons)


def test_a_sender_that_remembers_a_refusal_is_told_so(
    start: Start, kit_broker: RecordingBroker
) -> None:
    """As a circuit breaker does, which is not closed again for the next check."""
    is_open: list[bool] = []

    def send(cls: Any, signal: Any) -> None:
        if is_open:
            raise ConnectionError("the circuit is open")
        try:
            publish(signal.text)
        except Exception:
            is_open.append(True)
            raise

    results = results_of(start, kit_broker, send)

    [name, *_] = failures_in(results)
    assert "does it remember earlier calls?" in results[name].reason


def test_a_sender_that_commits_when_it_is_refused_is_told_so(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: Any, signal: Any) -> None:
        try:
            publish(signal.text)
        except Exception:
            cls.query.session.commit()
            raise

    results = results_of(start, kit_broker, send)

    name = "check_real_flush_keeps_what_is_refused"
    assert failures_in(results) == {name}
    assert "must not commit the session" in results[name].reason


def test_one_cause_is_one_failure(start: Start, kit_broker: RecordingBroker) -> None:
    def send(cls: Any, signal: Any) -> None:
        publish(signal.text)

    def send_many(cls: Any, signals: Iterable[Any]) -> None:
        broker = kit_broker
        for signal in signals:
            broker.queue(signal.text)

    results = results_of(start, kit_broker, send, send_many)

    assert failures_in(results) == {ACCEPTED}
    assert "5 messages were never confirmed" in results[ACCEPTED].reason


def test_a_flush_at_each_commit_is_not_taken_for_a_wrapped_session(
    start: Start, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = signal_model(db)
    app = start(db)

    @sa.event.listens_for(db.session, "after_commit")
    def flush(session: object) -> None:
        def work() -> None:
            with app.app_context():
                db.signalbus.flushmany()

        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    with pytest.raises(CannotCheck, match="something sends or deletes them at"):
        Harness(model, app, broker=kit_broker).record()

    assert kit_broker.sent == []


def test_writes_are_undone_in_the_end(
    start: Start, kit_broker: RecordingBroker
) -> None:
    """Whether they were known to SQLAlchemy or not."""
    db = Database()
    note = db.Table(
        "note",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String(50)),
    )

    def send(cls: Any, signal: Any) -> None:
        publish(signal.text)
        db.session.execute(sa.insert(note).values(text=signal.text))
        db.session.execute(sa.text("UPDATE note SET text = 'sent' WHERE id = 1000"))

    model = signal_model(
        db, send_signalbus_message=classmethod(send), send_signalbus_messages=LEFT_OUT
    )
    app = start(db)
    with app.app_context():
        db.session.execute(sa.insert(note).values(id=1000, text="precious"))
        db.session.commit()

    report = check_signal_model(model, app, broker=kit_broker)

    with app.app_context():
        rows = db.session.execute(sa.select(note)).all()
    assert report.failures == []
    assert rows == [(1000, "precious")]
