"""The recipes of the page on observability do what they say (O3)."""

import importlib.util
import io
import json
import logging
import re
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import current_app
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from support.broker import Broker, BrokerRefused
from support.models import Note, Parcel
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Record
from swpt_pythonlib.flask_signalbus import SignalBus

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "observability"
LOGGER = logging.getLogger("swpt_pythonlib.flask_signalbus")


def recipe(name: str) -> Any:
    """Return the module of a recipe."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def metrics() -> Any:
    """Return the module of metrics, which registers them for good."""
    return recipe("metrics")


@pytest.fixture
def handle() -> Iterator[Any]:
    """Return what adds a handler to the logger for a while."""
    handlers: list[logging.Handler] = []

    def handle(handler: logging.Handler) -> None:
        handlers.append(handler)
        LOGGER.addHandler(handler)

    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    yield handle
    LOGGER.setLevel(level)
    for handler in handlers:
        LOGGER.removeHandler(handler)


def flush_by_command(bus: SignalBus) -> None:
    """Flush as a worker does; it logs the first error."""
    current_app.test_cli_runner().invoke(args=["signalbus", "flushmany"])


def test_prometheus_is_told_what_is_sent_and_what_fails(
    metrics: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """O3, O1."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"signalbus_{name}", labels) or 0.0

    before = value("sent_total", model="Note")
    record(Note, *"abc")
    broker.refuse("b")

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert value("sent_total", model="Note") - before == 2
    assert value("failures_total", model="Note", error="BrokerRefused") >= 1
    assert value("burst_seconds_count", model="Note") >= 2
    age = time.time() - value("last_pass_timestamp_seconds", model="Note")
    assert 0 <= age < 60


def test_prometheus_is_served_the_age_of_the_oldest_signal(
    metrics: Any,
    make_db: DBFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O3: it is asked for by each scrape."""
    own_db = make_db()

    @model_of(own_db)
    class Stamped(OwnModel):
        id = own_db.Column(own_db.Integer, primary_key=True)
        created_at = own_db.Column(own_db.DateTime, nullable=False)
        send_signalbus_message = print

    app = current_app._get_current_object()  # type: ignore[attr-defined]
    own_db.create_all()
    # A whole second: MySQL rounds a fraction up, which makes the signal younger.
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    recorded = now - timedelta(seconds=500)
    own_db.session.add(Stamped(created_at=recorded))
    own_db.session.commit()
    served: list[Any] = []
    start = metrics.start_http_server
    monkeypatch.setattr(
        metrics,
        "start_http_server",
        lambda port: served.append(start(port, "127.0.0.1")),
    )
    monkeypatch.setenv("METRICS_PORT", "0")

    metrics.serve(app, own_db, [Stamped])

    [(server, thread)] = served
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    try:
        text = urllib.request.urlopen(url, timeout=30).read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        metrics.OLDEST.clear()
    (age,) = re.findall(
        r'^signalbus_oldest_seconds\{model="Stamped"\} (\S+)', text, re.M
    )
    assert 500 <= float(age) < 600


def test_the_alerts_ask_for_metrics_that_there_are(metrics: Any) -> None:
    """O3: the age of the oldest, failures, a silent worker."""
    alerts = yaml.safe_load((RECIPES / "alerts.yml").read_text(encoding="utf-8"))

    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    asked = set(re.findall(r"signalbus_\w+", " ".join(rule["expr"] for rule in rules)))
    known = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in REGISTRY.collect()
    }
    assert len(rules) == 4
    assert asked == {
        "signalbus_oldest_seconds",
        "signalbus_failures_total",
        "signalbus_last_pass_timestamp_seconds",
    }
    assert asked <= known


def test_the_trace_of_a_request_goes_on_where_its_signal_is_sent(
    make_db: DBFactory,
) -> None:
    """O3: though another process may send it."""
    tracing = recipe("tracing")
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.tracer = provider.get_tracer("test")
    own_db = make_db()
    inside: list[int] = []

    @model_of(own_db)
    class Traced(OwnModel):
        id = own_db.Column(own_db.Integer, primary_key=True)
        trace = own_db.Column(own_db.String(55), default=tracing.current_trace)

        @classmethod
        def send_signalbus_message(cls, signal: Any) -> None:
            with tracing.span_of(signal):
                inside.append(trace.get_current_span().get_span_context().trace_id)

    own_db.create_all()
    with tracing.tracer.start_as_current_span("request") as request:
        own_db.session.add(Traced())
        own_db.session.commit()
    own_db.session.add(Traced())  # outside of any trace
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 2
    asked = request.get_span_context()
    sent, untraced = [s for s in exporter.get_finished_spans() if s.name != "request"]
    assert inside[0] == asked.trace_id != inside[1]
    assert sent.parent is not None
    assert sent.parent.span_id == asked.span_id
    assert untraced.parent is None


def test_json_logs_hold_the_facts(
    handle: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """O3, F18: each line is an object."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(recipe("json_logs").JSONFormatter())
    handle(handler)
    signals = record(Note, "a")
    broker.refuse("a")

    flush_by_command(bus)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (caught,) = [line for line in lines if line["message"].startswith("Caught")]
    assert caught["level"] == "ERROR"
    assert caught["signalbus_model"] == "Note"
    assert caught["signalbus_key"] == [signals[0].id]
    assert "BrokerRefused" in caught["traceback"]


def test_an_error_tracker_gets_one_event_per_cause(
    handle: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """O3, F18: with the model, and with a key."""

    def send(text: str) -> None:
        if text.startswith("odd"):
            raise ValueError(text)

    events: list[tuple[str, dict[str, str]]] = []
    tracker = recipe("error_tracker").ErrorTracker
    handle(tracker(lambda error, tags: events.append((type(error).__name__, tags))))
    first, *_ = record(Note, *[f"odd{i}" for i in range(3)], "good")
    record(Parcel, "bad", "worse", "good")
    broker.meanwhile = send
    broker.refuse("bad", "worse")

    flush_by_command(bus)

    assert sorted((name, tags["model"]) for name, tags in events) == [
        ("BrokerRefused", "Parcel"),
        ("ValueError", "Note"),
    ]
    keys = {name: tags.get("key") for name, tags in events}
    assert keys["ValueError"] == f"({first.id},)"


def test_refused_messages_are_set_aside_and_replayed(make_db: DBFactory) -> None:
    """O3, F6: none is lost, and none is in the way."""
    set_aside = recipe("set_aside")
    own_db = make_db()
    refused = {2}
    published: list[int] = []

    def publish(order_id: int) -> None:
        if order_id in refused:
            raise set_aside.MessageRefused("no such queue")
        published.append(order_id)

    shipped, aside = set_aside.make_models(own_db, publish)
    own_db.create_all()
    own_db.session.add_all([shipped(order_id=number) for number in (1, 2, 3)])
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3
    assert published == [1, 3]
    assert [m.reason for m in own_db.session.scalars(own_db.select(aside))] == [
        "no such queue"
    ]

    refused.clear()
    assert set_aside.replay(own_db, shipped, aside) == 1
    assert own_db.signalbus.flushmany() == 1
    assert published == [1, 3, 2]
