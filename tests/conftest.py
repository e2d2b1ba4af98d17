"""Fixtures: an application with the sample models, on the database of the run."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, select

from support.broker import Broker
from support.capabilities import Row, row_of
from support.lost_races import LostRaces
from support.models import db, migrate
from support.signatures import AppFactory, DBFactory, Pending, Record
from support.sqlite_settings import set_up_sqlite
from swpt_pythonlib.flask_signalbus import RetryPolicy, SignalBus, SignalBusMixin

pytest_plugins = ["servers.plugin", "pytester"]

PATIENT_WITHOUT_PAUSES = RetryPolicy(attempts=8, first_pause=0.0)


def pytest_signalbus_row(dialect: str, version: str) -> Row:
    """Tell the plugin what the database of the run can do."""
    return row_of(dialect, version)


@pytest.fixture(scope="session")
def tables(database_url: str) -> str:
    """Create the tables of the sample models once, and return the URL."""
    engine = create_engine(database_url)
    migrate(engine)
    db.metadata.create_all(engine)
    engine.dispose()
    return database_url


@pytest.fixture
def make_app(tables: str, configured_level: str | None) -> Iterator[AppFactory]:
    """Return a factory of applications, and empty the tables in the end."""
    apps = []
    defaults = {"isolation_level": configured_level} if configured_level else {}

    def make_app(**engine_options: Any) -> Flask:
        app = Flask("sample")
        app.config["SQLALCHEMY_DATABASE_URI"] = tables
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {**defaults, **engine_options}
        app.config["SIGNALBUS_RETRY_POLICY"] = PATIENT_WITHOUT_PAUSES
        app.extensions["broker"] = Broker()
        db.init_app(app)
        with app.app_context():
            set_up_sqlite(db.engine)
        apps.append(app)
        return app

    yield make_app

    for app in apps:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()

    engine = create_engine(tables)
    with engine.begin() as connection:
        for table in reversed(db.metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()


@pytest.fixture
def make_db(database_url: str) -> Iterator[DBFactory]:
    """Return a factory of extensions with an application of their own.

    The test runs in the context of the last one. The tables that their models
    have by then are dropped in the end.
    """
    with ExitStack() as cleanup:

        def make_db(
            *bases: type, binds: dict[str, str] | None = None, **options: Any
        ) -> Any:
            name = "CustomSQLAlchemy"
            own_db: Any = type(name, (*(bases or (SignalBusMixin,)), SQLAlchemy), {})(
                **options
            )
            app = Flask("special")
            app.config["SQLALCHEMY_DATABASE_URI"] = database_url
            app.config["SQLALCHEMY_BINDS"] = binds or {}
            app.extensions["broker"] = Broker()
            own_db.init_app(app)
            cleanup.enter_context(app.app_context())
            set_up_sqlite(own_db.engine)
            for engine in own_db.engines.values():
                cleanup.callback(engine.dispose)
            cleanup.callback(own_db.drop_all)
            cleanup.callback(own_db.session.remove)
            return own_db

        yield make_db


@pytest.fixture
def app(make_app: AppFactory) -> Iterator[Flask]:
    """Return an application, in whose context the test runs."""
    app = make_app()
    with app.app_context():
        yield app


@pytest.fixture
def bus(app: Flask) -> SignalBus:
    """Return the signal bus of the application."""
    found: SignalBus = app.extensions["signalbus"]
    return found


@pytest.fixture
def broker(app: Flask) -> Broker:
    """Return the broker of the application."""
    found: Broker = app.extensions["broker"]
    return found


@pytest.fixture
def record(app: Flask) -> Record:
    """Return what records signals with the given texts, one transaction in all."""

    def record(model: Any, *texts: str) -> list[Any]:
        signals = [model(text=text, **_key(model, i)) for i, text in enumerate(texts)]
        db.session.add_all(signals)
        db.session.commit()
        return signals

    return record


@pytest.fixture
def pending(app: Flask) -> Pending:
    """Return what reads the texts of the pending signals, in key order."""

    def pending(model: Any) -> list[str]:
        keys = model.__table__.primary_key.columns
        texts = db.session.scalars(select(model.text).order_by(*keys)).all()
        db.session.rollback()
        return list(texts)

    return pending


@pytest.fixture
def lost_races(app: Flask) -> Iterator[LostRaces]:
    """Return what makes statements and commits fail as if a race was lost."""
    races = LostRaces(db.engine)
    yield races
    races.remove()


def _key(model: Any, i: int) -> dict[str, int]:
    return {"a": i // 4, "b": i} if hasattr(model, "a") else {}
