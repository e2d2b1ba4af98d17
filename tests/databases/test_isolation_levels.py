"""At which isolation level transactions run, and how they begin on SQLite."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from support.models import Account, Tag, db
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin
from swpt_pythonlib.flask_signalbus._engines import RaceSafety


class AtomicSQLAlchemy(AtomicProceduresMixin, SQLAlchemy):
    pass


class BothMixins(SignalBusMixin, AtomicProceduresMixin, SQLAlchemy):
    pass


#: The weakest level at which 'row.value += 1' loses nothing.
DEFAULT_LEVELS: Mapping[str, str] = {
    "postgresql": "REPEATABLE READ",
    "mysql": "SERIALIZABLE",
    "mariadb": "SERIALIZABLE",
    "sqlite": "SERIALIZABLE",
}

Engines = Mapping[str | None, sa.Engine]


@contextmanager
def engines_of(database: SQLAlchemy, **config: Any) -> Iterator[Engines]:
    """Yield the engines of an application with this configuration."""
    app = Flask("engines")
    app.config.update(config)
    database.init_app(app)
    with app.app_context():
        yield database.engines
        database.session.remove()
        for engine in database.engines.values():
            engine.dispose()


def level_of(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return connection.get_isolation_level()


def levels_of(database: SQLAlchemy, **config: Any) -> dict[str | None, str]:
    with engines_of(database, **config) as engines:
        return {key: level_of(engine) for key, engine in engines.items()}


# Levels.


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


# Plugins.


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


# SQLite. What is proved here holds on the other databases too.


def test_a_read_opens_a_transaction(app: Flask, tables: str) -> None:
    """A10: what is read twice is the same, or the transaction fails."""
    db.session.add(Account(id=1, value=1))
    db.session.commit()

    with db.engine.connect() as connection:
        connection.execute(sa.select(Account.value)).all()
        in_transaction = connection.in_transaction()
        driver_connection: Any = connection.connection.driver_connection
        begun_on_sqlite = getattr(driver_connection, "in_transaction", True)

    assert in_transaction
    assert begun_on_sqlite


def test_a_released_savepoint_is_rolled_back(app: Flask) -> None:
    """A10: together with the transaction that it is a part of."""
    with db.session.begin_nested():
        db.session.add(Account(id=1))
    db.session.rollback()

    assert db.session.get(Account, 1) is None


def test_a_savepoint_is_rolled_back_alone(app: Flask) -> None:
    """A10: what came before it, and after it, is committed."""
    db.session.add(Account(id=1))
    savepoint = db.session.begin_nested()
    db.session.add(Account(id=2))
    db.session.flush()
    savepoint.rollback()
    db.session.add(Account(id=3))
    db.session.commit()

    ids = db.session.scalars(sa.select(Account.id).order_by(Account.id)).all()
    assert ids == [1, 3]


def test_tables_are_created_and_dropped_as_usual(app: Flask) -> None:
    """A10: before, after and between other statements."""
    table = sa.Table("scratch", sa.MetaData(), sa.Column("id", sa.Integer))

    table.create(db.engine)
    with db.engine.begin() as connection:
        connection.execute(table.insert().values(id=1))
        count = connection.scalar(sa.select(sa.func.count()).select_from(table))
    table.drop(db.engine)

    assert count == 1
    assert "scratch" not in sa.inspect(db.engine).get_table_names()


@pytest.mark.requires("journal_modes")
def test_table_definitions_are_transactional(app: Flask) -> None:
    """A10: a definition is rolled back with what came before it."""
    table = sa.Table("scratch", sa.MetaData(), sa.Column("id", sa.Integer))

    with db.engine.connect() as connection:
        connection.execute(sa.insert(Account).values(id=1))
        table.create(connection)
        connection.rollback()

    assert "scratch" not in sa.inspect(db.engine).get_table_names()
    assert db.session.get(Account, 1) is None


@pytest.mark.requires("journal_modes")
@pytest.mark.parametrize(
    ("url_query", "options", "begins"),
    [
        pytest.param("", {}, True, id="nothing"),
        pytest.param("", {"isolation_level": "SERIALIZABLE"}, True, id="SERIALIZABLE"),
        pytest.param("", {"connect_args": {"timeout": 1}}, True, id="a timeout"),
        pytest.param(
            "",
            {"connect_args": {"isolation_level": "IMMEDIATE"}},
            False,
            id="a level of the driver",
        ),
        pytest.param(
            "?isolation_level=IMMEDIATE", {}, False, id="a level of the driver, in URL"
        ),
        pytest.param("", {"isolation_level": "AUTOCOMMIT"}, False, id="AUTOCOMMIT"),
        pytest.param(
            "",
            {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
            False,
            id="AUTOCOMMIT as an option",
        ),
        pytest.param(
            "", {"isolation_level": "READ UNCOMMITTED"}, False, id="READ UNCOMMITTED"
        ),
    ],
)
def test_a_configured_way_to_begin_wins(
    tables: str, url_query: str, options: dict[str, Any], begins: bool
) -> None:
    """A10: only what nobody has configured is up to us."""
    database = AtomicSQLAlchemy(engine_options=options)

    with (
        engines_of(database, SQLALCHEMY_DATABASE_URI=tables + url_query) as engines,
        engines[None].connect() as connection,
    ):
        connection.execute(sa.text("SELECT 1"))
        driver_connection: Any = connection.connection.driver_connection
        begun = driver_connection.in_transaction

    assert begun is begins


@pytest.mark.requires("journal_modes")
def test_connections_of_others_begin_as_they_did(app: Flask, tables: str) -> None:
    """A10: only the engines of this database are changed."""
    engine = sa.create_engine(tables)

    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        driver_connection: Any = connection.connection.driver_connection
        in_transaction = driver_connection.in_transaction
        level = driver_connection.isolation_level
    engine.dispose()

    assert (in_transaction, level) == (False, "")


@pytest.mark.requires("in_memory")
@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_databases_in_memory_work(url: str) -> None:
    """A10: also across contexts and blocks, which share a connection."""

    class Base(orm.DeclarativeBase):
        pass

    database = AtomicSQLAlchemy(
        model_class=Base, engine_options={"poolclass": sa.StaticPool}
    )
    parent: Any = database.Model

    class Item(parent):  # type: ignore[misc]
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    app = Flask("memory")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    database.init_app(app)

    @database.atomic
    def block() -> int:
        database.session.add(Item())
        return len(Item.query.all())

    counts = []
    for create in (True, False):
        with app.app_context():
            if create:
                database.create_all()
            counts += [block(), block()]
            with pytest.raises(ZeroDivisionError):
                database.execute_atomic(lambda: block() / 0)
    with app.app_context():
        database.engine.dispose()

    assert counts == [1, 2, 3, 4]


def test_tags_of_one_database_are_no_business_of_another(
    app: Flask, new_database: Callable[[], str]
) -> None:
    """A10: each engine has transactions of its own."""
    other = Flask("other")
    other.config["SQLALCHEMY_DATABASE_URI"] = new_database()
    db.init_app(other)
    db.execute_atomic(lambda: db.session.add(Tag(name="here")))

    with other.app_context():
        db.create_all()
        db.execute_atomic(lambda: db.session.add(Tag(name="there")))
        there = db.session.scalars(sa.select(Tag.name)).all()
        db.session.remove()
        db.engine.dispose()
    here = db.session.scalars(sa.select(Tag.name)).all()

    assert (here, there) == (["here"], ["there"])
