"""flask-signalbus 0.5.20, the same application on its documented interface.

It runs in its own environment, with SQLAlchemy 1.4.
"""

import sys
import tempfile
import time
from typing import Any

from flask import Flask
from flask_signalbus import SignalBusMixin
from flask_sqlalchemy import SQLAlchemy

from benchmarks.contestants.protocol import TABLE, serve


class CustomSQLAlchemy(SignalBusMixin, SQLAlchemy):  # type: ignore[misc]
    pass


def main(url: str) -> None:
    app = Flask("bench", instance_path=tempfile.gettempdir())
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_TRACK_MODIFICATIONS"] = False
    db: Any = CustomSQLAlchemy(app)
    signal = declare_signal(db)

    def flush(burst: int, pause: float) -> int:
        signal.signalbus_burst_count = burst
        signal.pause = pause
        sent: int = db.signalbus.flushmany()
        return sent

    with app.app_context():
        serve(flush, ["SQLAlchemy", "Flask-SQLAlchemy", "Flask-SignalBus"])


def declare_signal(db: Any) -> Any:
    class Signal(db.Model):  # type: ignore[misc]
        __tablename__ = TABLE
        signalbus_autoflush = False
        pause = 0.0

        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String(100), nullable=False)
        recorded_at = db.Column(db.DateTime, nullable=False)

        def send_signalbus_message(self) -> None:
            pass

        @classmethod
        def send_signalbus_messages(cls, signals: list[Any]) -> None:
            if cls.pause:
                time.sleep(cls.pause)

    return Signal


if __name__ == "__main__":
    main(*sys.argv[1:])
