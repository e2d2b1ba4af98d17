"""How transactions begin, on SQLite in particular, and what belongs to them."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import orm

from support.engines import engines_of
from support.extensions import AtomicSQLAlchemy
from support.models import Account, Tag, db
from support.own_models import OwnModel, model_of
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin


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
    """A10: even across contexts and blocks, which share a connection."""

    class Base(orm.DeclarativeBase):
        pass

    database = AtomicSQLAlchemy(
        model_class=Base, engine_options={"poolclass": sa.StaticPool}
    )

    @model_of(database)
    class Item(OwnModel):
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


@pytest.mark.once
def test_a_migration_can_turn_foreign_keys_off(make_db: Any) -> None:
    """A10: SQLite ignores it within a transaction, which ours would be."""
    own_db = make_db(AtomicProceduresMixin)

    with own_db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        on = connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        off = connection.exec_driver_sql("PRAGMA foreign_keys").scalar()
        connection.exec_driver_sql("CREATE TABLE migrated (id INTEGER)")
        connection.rollback()

    assert (on, off) == (1, 0)
    assert not sa.inspect(own_db.engine).has_table("migrated")


@pytest.mark.once
def test_what_has_been_written_is_not_committed_for_a_pragma(make_db: Any) -> None:
    """A10: the setting stays as it is then, as SQLite wants it."""
    own_db = make_db(AtomicProceduresMixin)

    with own_db.engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE migrated (id INTEGER)")
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.rollback()

    assert not sa.inspect(own_db.engine).has_table("migrated")


@pytest.mark.once
@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN IMMEDIATE"])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_application_may_begin_its_transactions_itself(
    make_db: Any, statement: str, is_first: bool
) -> None:
    """A10: by SQLAlchemy's own recipe, which listens before us or after us."""

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(statement)

    target: Any = sa.Engine
    if is_first:
        sa.event.listen(target, "begin", begin)
    own_db = make_db(AtomicProceduresMixin)
    if not is_first:
        target = own_db.engine
        sa.event.listen(target, "begin", begin)
    try:
        with own_db.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE begun (id INTEGER)")
        with own_db.engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO begun VALUES (1)")
            connection.rollback()
            rows = connection.exec_driver_sql("SELECT * FROM begun").all()
            connection.rollback()
            connection.exec_driver_sql("DROP TABLE begun")
            connection.commit()
    finally:
        sa.event.remove(target, "begin", begin)

    assert rows == []
