"""This library, with one signal model, and the command as a worker."""

import datetime
import tempfile
from typing import Any

from flask import Flask
from flask.cli import ScriptInfo
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, insert
from sqlalchemy.orm import Mapped, mapped_column

from benchmarks.contestants.protocol import TABLE
from benchmarks.contestants.sending import MOMENT, Sender, serve
from swpt_pythonlib.flask_signalbus import SignalBusMixin


class CustomSQLAlchemy(SignalBusMixin, SQLAlchemy):
    pass


db = CustomSQLAlchemy()


class Signal(db.Model):  # type: ignore[name-defined, misc]
    __tablename__ = TABLE
    sender = Sender()

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(100))
    recorded_at: Mapped[datetime.datetime]

    @classmethod
    def send_signalbus_message(cls, signal: Any) -> None:
        cls.sender.send(signal.text)


def application(url: str) -> Flask:
    app = Flask("bench", instance_path=tempfile.gettempdir())
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    return app


def record(url: str) -> None:
    moment = datetime.datetime.fromisoformat(MOMENT)

    def insert_all(texts: list[str]) -> None:
        rows = [{"text": text, "recorded_at": moment} for text in texts]
        db.session.execute(insert(Signal), rows)
        db.session.commit()

    with application(url).app_context():
        db.create_all()
        serve(["swpt-flask-signalbus"], insert_all)


def work(url: str, batch: int, sender: Sender) -> None:
    Signal.signalbus_burst_count = batch
    Signal.sender = sender
    app = application(url)
    app.cli.main(
        args=["signalbus", "flushmany", "--repeat", "30"],
        obj=ScriptInfo(create_app=lambda: app),
    )
