"""Flushes as metrics of Prometheus, on a port of the worker."""

import os
from datetime import UTC, datetime

from flask import Flask
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from sqlalchemy import func, select

from swpt_pythonlib.flask_signalbus import burst_sent, pass_ended, sending_failed

SENT = Counter("signalbus_sent", "Signals sent.", ["model"])
FAILED = Counter("signalbus_failures", "Failures to send.", ["model", "error"])
SECONDS = Histogram(
    "signalbus_burst_seconds", "From the claim to the commit.", ["model"]
)
LAST_PASS = Gauge("signalbus_last_pass_timestamp_seconds", "End of a pass.", ["model"])
OLDEST = Gauge("signalbus_oldest_seconds", "Age of the oldest signal.", ["model"])


@burst_sent.connect
def count_burst(app, *, model, count, seconds, **extra):
    SENT.labels(model.__name__).inc(count)
    SECONDS.labels(model.__name__).observe(seconds)


@sending_failed.connect
def count_failure(app, *, model, error, **extra):
    FAILED.labels(model.__name__, type(error).__name__).inc()


@pass_ended.connect
def note_pass(app, *, model, **extra):
    LAST_PASS.labels(model.__name__).set_to_current_time()


def serve(app: Flask, db, models) -> None:
    """Serve the metrics if this is the worker, which has METRICS_PORT set.

    :param models: Signal models that have a column 'created_at', with the time in UTC.
    """

    def age_of_oldest(model):
        def age() -> float:
            # In the thread of the scrape: a context, and a session, of its own.
            with app.app_context():
                created_at = db.session.scalar(select(func.min(model.created_at)))
            if created_at is None:
                return 0.0

            age = datetime.now(UTC) - created_at.replace(tzinfo=UTC)
            # Clocks differ, and MySQL rounds to the next second.
            return max(age.total_seconds(), 0.0)

        return age

    if "METRICS_PORT" in os.environ:
        for model in models:
            OLDEST.labels(model.__name__).set_function(age_of_oldest(model))
        start_http_server(int(os.environ["METRICS_PORT"]))
