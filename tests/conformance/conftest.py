"""Fixtures: throw-away applications of all kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from conformance.applications import make_app
from support.capabilities import LEVELS
from swpt_pythonlib.flask_signalbus.testing import BrokerRefused, RecordingBroker

Start = Callable[[SQLAlchemy], Flask]


@pytest.fixture(scope="session")
def own_database_url(new_database: Callable[[], str]) -> str:
    """Return the URL of a database in which each test makes its own tables."""
    return new_database()


@pytest.fixture(scope="session")
def other_database_url(new_database: Callable[[], str]) -> str:
    """Return the URL of the database of models with a bind key."""
    return new_database()


@pytest.fixture
def start(
    own_database_url: str,
    other_database_url: str,
    dialect_name: str,
    kit_broker: RecordingBroker,
) -> Iterator[Start]:
    """Return what makes an application and its tables, which vanish in the end."""
    # The obvious bus relies on it, where there is a choice.
    level = "READ COMMITTED" if LEVELS[dialect_name] else None
    started: list[tuple[SQLAlchemy, Flask]] = []

    def start(db: SQLAlchemy) -> Flask:
        app = make_app(
            db,
            own_database_url,
            elsewhere=other_database_url,
            broker=kit_broker,
            isolation_level=level,
        )
        started.append((db, app))
        with app.app_context():
            if not LEVELS[dialect_name]:
                for engine in db.engines.values():
                    event.listen(engine, "connect", do_not_wait_for_the_disk)
            db.create_all()
        return app

    yield start

    for db, app in started:
        with app.app_context():
            db.drop_all()
            for engine in db.engines.values():
                engine.dispose()


def do_not_wait_for_the_disk(connection: Any, record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def kit_broker() -> RecordingBroker:
    """Return a broker fake that refuses in two ways."""
    return RecordingBroker(error=[BrokerRefused, TimeoutError])
