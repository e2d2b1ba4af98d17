"""The fakes of the documentation stand for their clients."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import Database, signal_model
from swpt_pythonlib.flask_signalbus.testing import check_signal_model

FAKES = Path(__file__).parents[2] / "examples" / "fakes"
NAMES = sorted(path.stem for path in FAKES.glob("fake_*.py"))

#: A mistake that each fake has to show, and the check that finds it.
MISTAKES = {
    "fake_http": (
        "    response.raise_for_status()\n",
        "",
        "check_single_send_propagates_broker_errors",
    ),
    "fake_amqp": (
        "    channel.confirm_delivery()\n",
        "",
        "check_one_accepted_message_per_row",
    ),
    "fake_redis": (
        "        pipeline.execute()\n",
        "",
        "check_one_accepted_message_per_row",
    ),
    "fake_kafka": (
        "        raise SignalsRefused(refused)\n",
        "        print(refused)\n",
        "check_single_send_propagates_broker_errors",
    ),
}

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return what loads a module from its source, with stand-ins for the clients."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "clients"))
    before = set(sys.modules)

    def load(source: str) -> ModuleType:
        spec = importlib.util.spec_from_loader("fake", loader=None)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        exec(source, vars(module))
        return module

    yield load

    for name in set(sys.modules) - before:
        del sys.modules[name]


def failures_of(
    module: ModuleType,
    start: Callable[[SQLAlchemy], Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    db = Database()
    model = signal_model(
        db,
        send_signalbus_message=classmethod(module.send_one),
        send_signalbus_messages=classmethod(module.send_many),
    )
    broker = module.fake(monkeypatch)
    report = check_signal_model(model, start(db), broker=broker)
    assert any(r.outcome == "passed" for r in report.results if "send" in r.check)
    return {failure.check: failure.reason for failure in report.failures}


@pytest.mark.parametrize("name", NAMES)
def test_a_fake_stands_for_its_client(
    name: str,
    load: Load,
    start: Callable[[SQLAlchemy], Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = load((FAKES / f"{name}.py").read_text())

    assert failures_of(module, start, monkeypatch) == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_fake_shows_what_its_client_would_hide(
    name: str,
    load: Load,
    start: Callable[[SQLAlchemy], Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy, broken, check = MISTAKES[name]
    source = (FAKES / f"{name}.py").read_text()
    assert healthy in source

    failures = failures_of(load(source.replace(healthy, broken, 1)), start, monkeypatch)

    assert check in failures
