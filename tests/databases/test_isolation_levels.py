"""At which isolation level transactions run, and who may choose it."""

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from support.engines import engines_of
from support.extensions import AtomicSQLAlchemy, BothMixins
from support.models import db
from swpt_pythonlib.flask_signalbus import SignalBusMixin
from swpt_pythonlib.flask_signalbus._engines import RaceSafety

#: The weakest level at which 'row.value += 1' loses nothing.
DEFAULT_LEVELS: Mapping[str, str] = {
    "postgresql": "REPEATABLE READ",
    "mysql": "SERIALIZABLE",
    "mariadb": "SERIALIZABLE",
    "sqlite": "SERIALIZABLE",
}


def level_of(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return connection.get_isolation_level()


def levels_of(database: SQLAlchemy, **config: Any) -> dict[str | None, str]:
    with engines_of(database, **config) as engines:
        return {key: level_of(engine) for key, engine in engines.items()}


@pytest.mark.parametrize("extension", [AtomicSQLAlchemy, BothMixins])
def test_the_default_level_loses_no_updates(
    tables: str, dialect_name: str, extension: type[SQLAlchemy]
) -> None:
    """A10: for every bind."""
    binds = {"text": tables, "dict": {"url": tables, "pool_size": 1}}

    levels = levels_of(
        extension(), SQLALCHEMY_DATABASE_URI=tables, SQLALCHEMY_BINDS=binds
    )

    assert levels == dict.fromkeys((None, *binds), DEFAULT_LEVELS[dialect_name])


@pytest.mark.parametrize(
    ("url", "connect_args"),
    [
        ("postgresql://?options=-cdefault_transaction_isolation%3Dserializable", {}),
        ("postgresql://", {"options": "-c default_transaction_isolation=serializable"}),
        ("mysql://", {"init_command": "SET transaction_isolation = 'SERIALIZABLE'"}),
        ("mariadb://", {"init_command": "SET SESSION TRANSACTION ISOLATION LEVEL …"}),
    ],
)
def test_a_level_among_the_settings_of_a_connection_wins(
    url: str, connect_args: dict[str, str]
) -> None:
    """A10: ours could be a weaker one."""
    options: dict[str, Any] = {"connect_args": connect_args}

    RaceSafety(sa.make_url(url), options)

    assert options == {"connect_args": connect_args}


@pytest.mark.requires("isolation_levels")
def test_a_level_of_the_constructor_wins(tables: str) -> None:
    """A10: for every bind that doesn't configure another one."""
    database = AtomicSQLAlchemy(engine_options={"isolation_level": "READ COMMITTED"})
    binds = {
        "text": tables,
        "dict": {"url": tables, "isolation_level": "READ UNCOMMITTED"},
    }

    levels = levels_of(database, SQLALCHEMY_DATABASE_URI=tables, SQLALCHEMY_BINDS=binds)

    assert levels[None] == levels["text"] == "READ COMMITTED"
    assert levels["dict"] == "READ UNCOMMITTED"


@pytest.mark.requires("isolation_levels")
@pytest.mark.parametrize(
    "options",
    [
        {"isolation_level": "READ COMMITTED"},
        {"execution_options": {"isolation_level": "READ COMMITTED"}},
        {"isolation_level": "READ COMMITTED", "plugins": ["swpt_flask_signalbus"]},
    ],
)
def test_a_level_of_the_configuration_wins(tables: str, options: Any) -> None:
    """A10: in whatever way SQLAlchemy lets one configure it."""
    database = AtomicSQLAlchemy(engine_options={"isolation_level": "SERIALIZABLE"})

    levels = levels_of(
        database,
        SQLALCHEMY_DATABASE_URI=tables,
        SQLALCHEMY_ENGINE_OPTIONS=options,
        SQLALCHEMY_BINDS={"other": {"url": tables, **options}},
    )

    assert levels == dict.fromkeys((None, "other"), "READ COMMITTED")


def test_options_that_are_no_level_leave_the_default(
    tables: str, dialect_name: str
) -> None:
    """A10: they are passed on."""
    options = {"pool_size": 3, "pool_pre_ping": True, "execution_options": {"a": 1}}
    database = AtomicSQLAlchemy(engine_options=options)

    with engines_of(database, SQLALCHEMY_DATABASE_URI=tables) as engines:
        level = level_of(engines[None])
        passed_on = engines[None].get_execution_options()

    assert level == DEFAULT_LEVELS[dialect_name]
    assert passed_on == {"a": 1}
    assert options == {
        "pool_size": 3,
        "pool_pre_ping": True,
        "execution_options": {"a": 1},
    }


@pytest.mark.requires("isolation_levels")
def test_engines_of_others_are_not_touched(app: Flask, tables: str) -> None:
    """A10: neither those of SQLAlchemy itself, nor those of another database."""
    engine = sa.create_engine(tables)

    level = level_of(engine)
    plain = levels_of(SQLAlchemy(), SQLALCHEMY_DATABASE_URI=tables)
    with_bus_only = levels_of(
        type("BusOnly", (SignalBusMixin, SQLAlchemy), {})(),
        SQLALCHEMY_DATABASE_URI=tables,
    )
    engine.dispose()

    assert plain == with_bus_only == {None: level}
    assert level_of(db.engine) != level or level == "SERIALIZABLE"


def test_other_plugins_are_kept(tables: str) -> None:
    """A10: ours joins those of the constructor."""
    loaded = []

    class Other(sa.CreateEnginePlugin):
        def update_url(self, url: sa.URL) -> sa.URL:
            return url

        def engine_created(self, engine: sa.Engine) -> None:
            loaded.append(engine)

    sa.dialects.plugins.impls["other"] = lambda: Other
    database = AtomicSQLAlchemy(engine_options={"plugins": ["other"]})
    with engines_of(database, SQLALCHEMY_DATABASE_URI=tables) as engines:
        assert loaded == [engines[None]]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        pytest.param(
            {"SQLALCHEMY_ENGINE_OPTIONS": {"plugins": ["other"]}},
            "SQLALCHEMY_ENGINE_OPTIONS",
            id="of the default engine",
        ),
        pytest.param(
            {"SQLALCHEMY_BINDS": {"b": {"url": "sqlite://", "plugins": []}}},
            r"SQLALCHEMY_BINDS\['b'\]",
            id="of a bind",
        ),
    ],
)
def test_a_configuration_must_not_leave_our_plugin_out(
    config: dict[str, Any], name: str
) -> None:
    """A10: updates would be lost silently."""
    app = Flask("plugins")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", **config)

    with pytest.raises(ValueError, match=rf"'plugins' in '{name}' must include"):
        AtomicSQLAlchemy().init_app(app)
