"""Small applications with one healthy way to do everything."""

from collections.abc import Iterable
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import SignalBusMixin
from swpt_pythonlib.flask_signalbus.testing import RecordingBroker


class Database(SignalBusMixin, SQLAlchemy):
    pass


def make_app(
    db: SQLAlchemy,
    url: str,
    *,
    elsewhere: str | None = None,
    broker: RecordingBroker | None = None,
    isolation_level: str | None = None,
    **execution_options: Any,
) -> Flask:
    app = Flask("conformance")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_BINDS={"elsewhere": elsewhere} if elsewhere else {},
        SQLALCHEMY_ENGINE_OPTIONS=(
            {"isolation_level": isolation_level} if isolation_level else {}
        )
        | {"execution_options": execution_options},
    )
    db.init_app(app)
    app.extensions["broker"] = broker or RecordingBroker()
    return app


def publish(message: object) -> None:
    current_app.extensions["broker"].accept(message)


def send_one(cls: type[Any], signal: Any) -> None:
    publish(signal.text)


def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
    for signal in signals:
        publish(signal.text)


def signal_model(
    db: SQLAlchemy,
    *bases: type[Any],
    name: str = "Signal",
    **attributes: Any,
) -> type[Any]:
    """Make a model that is healthy, apart from the given attributes."""
    healthy = {
        "__module__": __name__,
        "__tablename__": name.lower(),
        "id": db.Column(db.Integer, primary_key=True),
        "text": db.Column(db.String(50), nullable=False),
        "signalbus_burst_count": 3,
        "send_signalbus_message": classmethod(send_one),
        "send_signalbus_messages": classmethod(send_many),
    }
    body = {
        name: value
        for name, value in {**healthy, **attributes}.items()
        if value is not LEFT_OUT
    }
    # A base that is a model itself is the only one.
    needed = () if any(issubclass(base, db.Model) for base in bases) else (db.Model,)
    model: type[Any] = type(name, bases + needed, body)
    return model


#: Takes an attribute out of a healthy model.
LEFT_OUT = object()
