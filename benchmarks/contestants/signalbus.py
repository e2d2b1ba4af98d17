"""This library, in an application that has only a signal model."""

import datetime
import sys
import tempfile
import time
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks.contestants.protocol import TABLE, serve
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class SignalBusOnly(SignalBusMixin, SQLAlchemy):
    pass


class WithAtomicProcedures(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass


FLAVOURS: dict[str, type[SignalBusOnly | WithAtomicProcedures]] = {
    "plain": SignalBusOnly,
    "atomic": WithAtomicProcedures,
}


def main(url: str, flavour: str) -> None:
    db = FLAVOURS[flavour]()
    app = Flask("bench", instance_path=tempfile.gettempdir())
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    signal: Any = declare_signal(db)

    def flush(burst: int, pause: float) -> int:
        signal.signalbus_burst_count = burst
        signal.pause = pause
        return db.signalbus.flushmany()

    with app.app_context():
        serve(flush, ["SQLAlchemy", "Flask-SQLAlchemy", "swpt-flask-signalbus"])


def declare_signal(db: Any) -> type[Any]:
    class Signal(db.Model):  # type: ignore[misc]
        __tablename__ = TABLE
        pause = 0.0

        id: Mapped[int] = mapped_column(primary_key=True)
        text: Mapped[str] = mapped_column(String(100))
        recorded_at: Mapped[datetime.datetime]

        @classmethod
        def send_signalbus_message(cls, signal: Any) -> None:
            pass

        @classmethod
        def send_signalbus_messages(cls, signals: list[Any]) -> None:
            if cls.pause:
                time.sleep(cls.pause)

    return Signal


if __name__ == "__main__":
    main(*sys.argv[1:])
