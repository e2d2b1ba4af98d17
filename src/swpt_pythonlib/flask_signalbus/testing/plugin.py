"""Fixtures for an application's own tests; load it with ``pytest_plugins``.

All of them have names that begin with ``signalbus_``, and none is used unasked. They
need a fixture ``app``, which is the application's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from .._models import full_name, has_bulk_sender
from .._reports import summary_of
from .broker import RecordingBroker
from .failures import CannotCheck
from .outbox import Outbox
from .parametrize import ModelCheck
from .recorder import Recorder
from .unwrapping import unwrapped

_PROPERTY = "signalbus_model"
_OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


@pytest.fixture
def signalbus_broker() -> RecordingBroker:
    """Return a broker fake; put it where the application publishes."""
    return RecordingBroker()


@pytest.fixture
def signalbus_outbox(app: Flask) -> Iterator[Outbox]:
    """Return a look into what the application has recorded.

    What is still pending after the test, and was not before it, is deleted.
    """
    outbox = Outbox(app)
    with outbox.restored():
        yield outbox


@pytest.fixture
def signalbus_app(app: Flask, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Return the application for the checks, also in a suite that never commits.

    If the suite has put a connection, or a session on it, in the place of the engine,
    to roll back whatever a test does, this is undone until the end of the test.
    """
    checks = _checks_of(request.node)
    if not checks:
        raise CannotCheck(
            "The fixture 'signalbus_app' is for tests that are decorated with"
            " 'parametrize_signal_models(db)'."
        )

    with unwrapped(app, checks[0].session):
        yield app


@pytest.fixture
def signalbus_stub(app: Flask) -> Iterator[Callable[..., Recorder]]:
    """Return a function that replaces the send methods of a model by a recorder."""
    with ExitStack() as stack:

        def stub(model: type[Any], *, bulk: bool | None = None) -> Recorder:
            if bulk is None:
                bulk = has_bulk_sender(model)
            return stack.enter_context(
                Recorder().replacing_senders(model, bulk=bulk, burst=None)
            )

        yield stub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note which tests are checks of a signal model."""
    for item in items:
        for check in _checks_of(item):
            item.user_properties.append((_PROPERTY, full_name(check.model)))


def _checks_of(item: pytest.Item) -> list[ModelCheck]:
    """Return the checks that a test is parametrized with."""
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec else ()
    return [value for value in values if isinstance(value, ModelCheck)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many checks there were, and what was missing."""
    results = [
        (model, outcome, _reason(report))
        for outcome in _OUTCOMES
        for report in terminalreporter.stats.get(outcome, ())
        for name, model in getattr(report, "user_properties", ())
        if name == _PROPERTY
    ]
    if results:
        terminalreporter.write_line(summary_of(results))


def _reason(report: pytest.TestReport) -> str:
    if not isinstance(report.longrepr, tuple):
        return ""

    return report.longrepr[2].removeprefix("Skipped: ")
