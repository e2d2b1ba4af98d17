"""The real worker, and what records for it; each says on its output what it has done.

``worker URL REPEAT`` runs ``flask signalbus flushmany --repeat``. It says of each
signal when it was sent; a line on its input has it say what it has cost so far.

``recorder URL WAKE_UP`` reads lines, each a number of transactions to record a signal,
and says when the last one of them was committed.
"""

import datetime
import json
import sys
import tempfile
import time
from threading import Thread
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.cli import ScriptInfo
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks.contestants.protocol import TABLE
from swpt_pythonlib.flask_signalbus import SignalBusMixin


class CustomSQLAlchemy(SignalBusMixin, SQLAlchemy):
    pass


db = CustomSQLAlchemy()


class Signal(db.Model):  # type: ignore[name-defined, misc]
    __tablename__ = TABLE

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(100))
    recorded_at: Mapped[datetime.datetime]

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        say({"sent": time.monotonic()})


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def application(url: str, *, wake_up: bool = True) -> Flask:
    app = Flask("bench", instance_path=tempfile.gettempdir())
    # SQLite is not fair to those that wait for its lock.
    is_unfair = url.startswith("sqlite")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"{url}?timeout=60" if is_unfair else url
    app.config["SIGNALBUS_WAKE_UP"] = wake_up
    db.init_app(app)
    return app


def worker(url: str, repeat: str) -> None:
    app = application(url)
    counts = {"statements": 0}

    def count(*_: object) -> None:
        counts["statements"] += 1

    with app.app_context():
        # What begins and ends a transaction is a statement too.
        for name in ("begin", "before_cursor_execute", "commit", "rollback"):
            sa.event.listen(db.engine, name, count)

    def answer() -> None:
        for _ in sys.stdin:
            say({**counts, "cpu_seconds": time.process_time()})

    Thread(target=answer, daemon=True).start()
    app.cli.main(
        args=["signalbus", "flushmany", "--repeat", repeat],
        obj=ScriptInfo(create_app=lambda: app),
    )


def recorder(url: str, wake_up: str) -> None:
    moment = datetime.datetime(2025, 1, 31, 12, 34, 56, 789012)
    with application(url, wake_up=wake_up == "on").app_context():
        say({"ready": True})
        for line in sys.stdin:
            started = time.monotonic()
            for _ in range(int(line)):
                db.session.add(Signal(text="x" * 50, recorded_at=moment))
                db.session.commit()
            now = time.monotonic()
            say({"committed": now, "seconds": now - started})


if __name__ == "__main__":
    {"worker": worker, "recorder": recorder}[sys.argv[1]](*sys.argv[2:])
