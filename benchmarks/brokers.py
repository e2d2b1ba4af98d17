"""Signals a second over real brokers: ``python -m benchmarks.brokers [NAMES]``.

Beside the library runs a loop written by hand, with the same publisher, that of the
example. Both take the signals out of the same table on a private PostgreSQL. The two
take turns, and the medians are printed as a table.
"""

import importlib
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, Session, mapped_column

from benchmarks.workers import ROOT
from servers import private_server
from servers.brokers import BROKERS, private_broker
from swpt_pythonlib.flask_signalbus import SignalBusMixin, SignalsRefused

#: How many signals a run has, by the size of the bursts.
COUNTS = {1: 1000, 100: 10_000, 1000: 20_000}
ROUNDS = 5

FILL = sa.text(
    "INSERT INTO signal (id, message_id, body)"
    " SELECT n, gen_random_uuid(), repeat('x', 100) FROM generate_series(1, :count) n"
)


class OnlySignalBus(SignalBusMixin, SQLAlchemy):
    pass


def main(names: list[str]) -> None:
    print("broker    burst  library  by hand  ratio", flush=True)
    for name in names or BROKERS:
        with (
            private_server("postgresql") as url,
            private_broker(name, os.environ, print) as broker,
        ):
            # In a process of its own, since the examples' packages share their name.
            subprocess.run(
                [sys.executable, "-m", __spec__.name, "--in", name, url, broker.url],
                cwd=ROOT,
                check=True,
            )


def measure(name: str, url: str, broker_url: str) -> None:
    """Measure with one broker, and print the lines of the table."""
    sys.path.insert(0, str(ROOT / "examples" / name))
    client = importlib.import_module("shop.broker")
    client.set_up(broker_url, "bench")
    db, app = OnlySignalBus(), Flask("bench")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    signal = declare_signal(db, client.Publisher(broker_url, timeout=30.0))
    with app.app_context():
        db.create_all()
        for burst, count in COUNTS.items():
            signal.signalbus_burst_count = burst
            rates = measure_burst(db, signal, burst, count)
            library, by_hand = (
                statistics.median(each) for each in zip(*rates, strict=True)
            )
            ratio = statistics.median(a / b for a, b in rates)
            line = f"{name:9} {burst:5} {library:8.0f} {by_hand:8.0f} {ratio:6.2f}"
            print(line, flush=True)


def measure_burst(
    db: Any, signal: Any, burst: int, count: int
) -> list[tuple[float, float]]:
    """Return the signals a second of each round, of the library and by hand."""
    flushes = (db.signalbus.flushmany, lambda: flush_by_hand(db.engine, signal, burst))
    rounds = []
    # The first one warms up.
    for _ in range(ROUNDS + 1):
        rates = [rate_of(flush, db.engine, count) for flush in flushes]
        rounds.append((rates[0], rates[1]))
    return rounds[1:]


def rate_of(flush: Callable[[], int], engine: sa.Engine, count: int) -> float:
    with engine.begin() as connection:
        connection.execute(FILL, {"count": count})
    started = time.perf_counter()
    sent = flush()
    seconds = time.perf_counter() - started
    assert sent == count
    return count / seconds


def flush_by_hand(engine: sa.Engine, signal: Any, burst: int) -> int:
    """Send what is pending, as one would without the library."""
    table = signal.__table__
    first = sa.select(table.c.id).order_by(table.c.id).limit(burst)
    claimed = first.with_for_update(skip_locked=True).cte("claimed")
    claim = (
        sa.delete(table)
        .where(table.c.id.in_(sa.select(claimed.c.id)))
        .returning(*table.c)
    )
    sent = 0
    with Session(engine) as session:
        while rows := session.execute(claim).all():
            rows = sorted(rows)
            signal.send_signalbus_messages(rows)
            session.commit()
            sent += len(rows)
    return sent


def declare_signal(db: Any, publisher: Any) -> Any:
    message = importlib.import_module("shop.messages").Message

    class Signal(db.Model):  # type: ignore[misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        message_id: Mapped[uuid.UUID]
        body: Mapped[str]

        @classmethod
        def send_signalbus_message(cls, signal: Any) -> None:
            cls.send_signalbus_messages([signal])

        @classmethod
        def send_signalbus_messages(cls, signals: list[Any]) -> None:
            refused = publisher.publish(
                [message(str(s.message_id), "orders.bench", s.body) for s in signals]
            )
            if refused:
                raise SignalsRefused(s for s in signals if str(s.message_id) in refused)

    return Signal


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        measure(*sys.argv[2:])
    else:
        main(sys.argv[1:])
