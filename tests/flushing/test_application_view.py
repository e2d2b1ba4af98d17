"""A flush sees what the application sees: tenants, replicas, schemas, its engines."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy.session import Session
from sqlalchemy import event, orm

from support.broker import Broker, BrokerRefused
from support.broker import broker as current_broker
from support.capabilities import CREATE_SCHEMA
from support.models import Note, Parcel, Sends, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus, SignalBusMixin


def test_listeners_are_told_of_every_transaction(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F19: whatever they set for a transaction holds for all that a flush does."""
    record(Parcel, *"abcd")
    told: list[sa.Connection] = []
    asked: list[sa.Connection] = []

    @event.listens_for(db.session, "after_begin")
    def tell(session: Any, transaction: Any, connection: sa.Connection) -> None:
        told.append(connection)

    @event.listens_for(db.engine, "begin")
    def ask(connection: sa.Connection) -> None:
        asked.append(connection)

    try:
        bus.flushmany([Parcel])
    finally:
        event.remove(db.session, "after_begin", tell)
        event.remove(db.engine, "begin", ask)

    assert broker.sent == list("abcd")
    assert len(told) == len(asked) >= 3


#: A table whose rows can be seen by one tenant at a time, and what sets the tenant.
SEE = {
    "postgresql": "SELECT set_config('app.tenant', '7', true)",
    "mysql": "SET @tenant = 7",
    "mariadb": "SET @tenant = 7",
}


@pytest.mark.requires("row_level_security")
def test_row_level_security_shows_a_flush_what_it_shows_the_session(
    make_db: DBFactory,
) -> None:
    """F19: the tenant is set when a transaction of the session begins."""
    own_db = make_db()

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))
        tenant: orm.Mapped[int]

    own_db.create_all()
    own_db.session.add_all([Letter(text="a", tenant=7), Letter(text="b", tenant=8)])
    own_db.session.commit()
    for statement in (
        "ALTER TABLE letter ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON letter USING"
        " (tenant = nullif(current_setting('app.tenant', true), '')::int)",
        "CREATE ROLE tenant_of_letters",
        "GRANT ALL ON letter TO tenant_of_letters",
    ):
        own_db.session.execute(sa.text(statement.replace(":", r"\:")))
    own_db.session.commit()

    @event.listens_for(own_db.session, "after_begin")
    def set_tenant(session: Any, transaction: Any, connection: Any) -> None:
        connection.exec_driver_sql("SET LOCAL ROLE tenant_of_letters")
        connection.exec_driver_sql(SEE[connection.dialect.name])

    try:
        count = own_db.signalbus.flushmany()
    finally:
        event.remove(own_db.session, "after_begin", set_tenant)
        own_db.drop_all()
        own_db.session.execute(sa.text("DROP ROLE tenant_of_letters"))
        own_db.session.commit()

    assert count == 1
    assert current_broker().sent == ["a"]


class Routing(Session):
    """SQLAlchemy's recipe: what does not write goes to a replica."""

    def get_bind(
        self, mapper: Any = None, clause: Any = None, bind: Any = None, **kwargs: Any
    ) -> Any:
        if bind is not None:
            return bind

        is_write = self._flushing or isinstance(clause, sa.Update | sa.Delete)
        engine = super().get_bind(mapper=mapper, clause=clause, bind=bind, **kwargs)
        return engine if is_write else self._db.engines["replica"]


class RoutingWithoutBind(Routing):
    """The same, as the documentation of SQLAlchemy writes it."""

    def get_bind(self, mapper: Any = None, clause: Any = None) -> Any:  # type: ignore[override]
        return super().get_bind(mapper, clause)


@pytest.mark.parametrize("session_class", [Routing, RoutingWithoutBind])
def test_reads_that_go_to_a_replica_do_not_lead_a_flush_there(
    make_db: DBFactory, database_url: str, session_class: type[Session]
) -> None:
    """F19: signals are claimed where they can be deleted."""
    own_db = make_db(
        SignalBusMixin,
        binds={"replica": database_url},
        session_options={"class_": session_class},
    )

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

    own_db.metadata.create_all(own_db.engine)
    read: list[str] = []

    @event.listens_for(own_db.engines["replica"], "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        read.append(statement)

    own_db.session.add_all([Letter(text=text) for text in "abc"])
    own_db.session.commit()

    count = own_db.signalbus.flushmany()

    assert count == 3
    assert current_broker().sent == list("abc")
    assert read == []
    own_db.session.remove()
    own_db.metadata.drop_all(own_db.engine)
    own_db.engines["replica"].dispose()


def test_a_session_that_is_bound_to_nonsense_is_refused_in_words(
    make_db: DBFactory,
) -> None:
    """F19: never a silent zero."""

    class Nonsense(Session):
        def get_bind(self, *args: Any, **kwargs: Any) -> Any:
            return "sqlite://"

    own_db = make_db(SignalBusMixin, session_options={"class_": Nonsense})

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    assert Letter is not None

    with pytest.raises(TypeError, match="'get_bind' of the session must return"):
        own_db.signalbus.flushmany()


@pytest.fixture
def wrapped(app: Flask) -> Any:
    """Put a connection with an open transaction in the place of the engine."""
    engines: Any = db.engines
    engine = engines[None]
    with engine.connect() as connection:
        outer = connection.begin()
        engines[None] = connection
        yield connection
        engines[None] = engine
        db.session.remove()
        if outer.is_active:
            outer.rollback()

    assert db.session.scalars(sa.select(Note)).all() == []


def test_an_engine_that_is_replaced_by_a_connection_is_worked_on(
    wrapped: sa.Connection, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F19: what is sent is rolled back with all the rest."""
    record(Note, *"abcd")

    count = bus.flushmany([Note])

    assert count == 4
    assert broker.sent == list("abcd")
    assert db.session.scalars(sa.select(Note)).all() == []


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_a_sender_that_fails_on_such_a_connection_is_reported(
    wrapped: sa.Connection, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F19, F8: its rollback takes along what the connection has done; nothing stays."""
    record(Note, *"abcd")
    broker.refuse("b")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert set(broker.sent) <= set("acd")


def test_a_translated_schema_is_followed(make_db: DBFactory, dialect_name: str) -> None:
    """F19, S6: the map of the engine's options tells where the table is."""
    own_db = make_db()

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        __table_args__ = {"schema": "declared"}
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

    with own_db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(CREATE_SCHEMA[dialect_name].format("translated"))
    options = {"schema_translate_map": {"declared": "translated"}}
    own_db.engine.update_execution_options(**options)
    own_db.create_all()
    own_db.session.add_all([Letter(text=text) for text in "abc"])
    own_db.session.commit()

    count = own_db.signalbus.flushmany()

    assert count == 3
    assert current_broker().sent == list("abc")
    own_db.session.remove()
    own_db.drop_all()
    if dialect_name != "sqlite":
        with own_db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("DROP SCHEMA translated")


def test_what_is_pending_after_such_a_flush_is_what_the_session_says(
    bus: SignalBus, record: Record, pending: Pending
) -> None:
    """F19: nothing, if the count is right."""
    record(Note, *"ab")

    count = bus.flushmany([Note])

    assert count == 2
    assert pending(Note) == []
