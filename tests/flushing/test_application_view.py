"""The flush sees what the application sees: tenants, primaries, fixtures."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask_sqlalchemy.session import Session
from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    Integer,
    String,
    Update,
    event,
    text,
)
from sqlalchemy.orm import Session as PlainSession
from sqlalchemy.orm import mapped_column, scoped_session, sessionmaker

from support.broker import BrokerRefused, broker
from support.capabilities import CREATE_SCHEMA, READER
from support.extensions import BothMixins
from support.models import Sends, SendsMany, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus import SignalBus, SignalBusMixin

TENANT = "seen_tenant"


def make_model(own_db: Any, bind_key: str | None = None) -> Any:
    @model_of(own_db)
    class Seen(SendsMany, OwnModel):
        __bind_key__ = bind_key
        signalbus_burst_count = 3
        id = mapped_column(Integer, primary_key=True)
        text = mapped_column(String(40))

    return Seen


def record(own_db: Any, model: Any, *texts: str) -> None:
    own_db.session.add_all(model(text=text) for text in texts)
    own_db.session.commit()


@pytest.fixture
def listen() -> Iterator[Callable[..., None]]:
    """Return what listens to a session until the test has ended."""
    listening: list[Any] = []

    def listen(session: Any, listener: Callable[..., None]) -> None:
        event.listen(session, "after_begin", listener)
        listening.append((session, listener))

    yield listen

    for session, listener in listening:
        event.remove(session, "after_begin", listener)


def test_who_listens_to_transactions_is_told_of_each(
    make_db: DBFactory, listen: Callable[..., None]
) -> None:
    """F19: of the look for the newest key too."""
    own_db = make_db()
    model = make_model(own_db)
    own_db.create_all()
    record(own_db, model, *"abcd")
    told: list[Any] = []
    listen(own_db.session, lambda session, transaction, _: told.append(transaction))

    assert own_db.signalbus.flushmany() == 4

    # The look, and two bursts.
    assert len(told) == 3
    assert len(set(map(id, told))) == 3


def test_who_listens_to_transactions_is_told_of_those_after_a_failure(
    make_db: DBFactory, listen: Callable[..., None]
) -> None:
    """F19, F9: the settlement, and the signals on their own, are not forgotten."""
    own_db = make_db()

    @model_of(own_db)
    class Seen(Sends, OwnModel):
        signalbus_burst_count = 3
        id = mapped_column(Integer, primary_key=True)
        text = mapped_column(String(40))

    own_db.create_all()
    record(own_db, Seen, *"abc")
    broker().refuse("b")
    told: list[Any] = []
    listen(own_db.session, lambda session, transaction, _: told.append(transaction))

    with pytest.raises(BrokerRefused):
        own_db.signalbus.flushmany()

    # The look, the burst, the settlement of 'a', then 'b' and 'c'.
    assert len(told) == 5


def test_what_a_listener_writes_is_no_write_of_the_sender(
    make_db: DBFactory, listen: Callable[..., None]
) -> None:
    """F19, F9: a tenant may be set in a table."""
    own_db = make_db()
    model = make_model(own_db)

    @model_of(own_db)
    class Tenant(OwnModel):
        id = mapped_column(Integer, primary_key=True)

    own_db.create_all()
    record(own_db, model, *"ab")
    listen(
        own_db.session,
        lambda session, _, connection: connection.execute(
            Tenant.__table__.insert()  # type: ignore[attr-defined]
        ),
    )

    assert own_db.signalbus.flushmany() == 2


@pytest.mark.requires("late_constraints")
def test_a_tenant_that_a_listener_sets_has_its_signals_sent(
    make_db: DBFactory, listen: Callable[..., None]
) -> None:
    """F19: row-level security lets nothing else be seen."""
    own_db = make_db()
    model = make_model(own_db)
    own_db.create_all()
    record(own_db, model, "1 mine", "2 theirs", "1 too")
    role = f"{READER}_of_rows"
    policy = "left(text, 1) = current_setting('app.tenant', true)"
    with own_db.engine.begin() as connection:
        for statement in (
            "ALTER TABLE seen ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY mine ON seen USING ({policy})",
            f"CREATE ROLE {role}",
            f"GRANT ALL ON seen TO {role}",
        ):
            connection.execute(text(statement))

    def set_tenant(session: Session, _: object, connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        connection.execute(text("SELECT set_config('app.tenant', '1', true)"))

    listen(own_db.session, set_tenant)
    try:
        sent = own_db.signalbus.flushmany()
    finally:
        own_db.session.rollback()
        with own_db.engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))

    assert sent == 2
    assert broker().sent == ["1 mine", "1 too"]


@pytest.mark.requires("late_constraints")
def test_a_search_path_that_a_listener_sets_is_followed(
    make_db: DBFactory, listen: Callable[..., None]
) -> None:
    """F19."""
    own_db = make_db()
    model = make_model(own_db)

    def set_path(session: Session, _: object, connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL search_path = {TENANT}"))

    with own_db.engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {TENANT}"))
        connection.execute(text(f"SET LOCAL search_path = {TENANT}"))
        own_db.metadatas[None].create_all(connection)
    listen(own_db.session, set_path)
    try:
        record(own_db, model, *"ab")

        assert own_db.signalbus.flushmany() == 2
        assert own_db.session.query(model).count() == 0
    finally:
        own_db.session.remove()
        with own_db.engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {TENANT} CASCADE"))


def routing_by_clause(engines: Callable[[], Any]) -> type[Session]:
    class Routing(Session):
        """As SQLAlchemy's documentation has it."""

        def get_bind(  # type: ignore[override]
            self, mapper: Any = None, *, clause: Any = None, bind: Any = None, **_: Any
        ) -> Any:
            if bind is not None:
                return bind
            is_write = self._flushing or isinstance(clause, (Insert, Update, Delete))
            return engines()[None if is_write else "replica"]

    return Routing


def routing_without_bind(engines: Callable[[], Any]) -> type[Session]:
    class Routing(Session):
        """As SQLAlchemy's documentation has it, in an older version."""

        def get_bind(self, mapper: Any = None, clause: Any = None) -> Any:  # type: ignore[override]
            is_write = self._flushing or isinstance(clause, (Insert, Update, Delete))
            return engines()[None if is_write else "replica"]

    return Routing


@pytest.mark.parametrize("routing", [routing_by_clause, routing_without_bind])
@pytest.mark.parametrize("bad", ["", "b"], ids=["sent", "refused"])
def test_signals_are_sent_from_the_primary_though_reads_go_elsewhere(
    bad: str,
    routing: Callable[..., type[Session]],
    make_db: DBFactory,
    tmp_path: Path,
) -> None:
    """F19: the replica here has not even the table."""
    made: list[Any] = []
    own_db = make_db(
        binds={"replica": f"sqlite:///{tmp_path / 'replica.db'}"},
        session_options={"class_": routing(lambda: made[0].engines)},
    )
    made.append(own_db)
    model = make_model(own_db)
    own_db.create_all(None)
    record(own_db, model, *"abcd")
    broker().refuse(bad)

    try:
        own_db.signalbus.flushmany()
    except BrokerRefused:
        assert bad

    assert set(broker().sent) == set("abcd") - {bad}
    with own_db.engines[None].connect() as connection:
        stays = connection.scalars(text("SELECT text FROM seen")).all()
    own_db.engines["replica"].dispose()
    assert stays == [*bad]


def test_a_table_is_found_where_the_engine_translates_its_schema_to(
    make_db: DBFactory, dialect_name: str
) -> None:
    """F19."""
    own_db = make_db()
    model = make_model(own_db)
    create = CREATE_SCHEMA[dialect_name].format(TENANT)
    if dialect_name == "sqlite":
        event.listen(own_db.engine, "connect", lambda c, _: c.execute(create))
    else:
        with own_db.engine.begin() as connection:
            connection.exec_driver_sql(create)
    engine = own_db.engine
    own_db.engines[None] = engine.execution_options(schema_translate_map={None: TENANT})
    try:
        own_db.create_all()
        record(own_db, model, *"abcd")

        assert own_db.signalbus.flushmany() == 4
        assert own_db.session.query(model).count() == 0
    finally:
        own_db.session.remove()
        own_db.drop_all()
        own_db.engines[None] = engine
        if dialect_name != "sqlite":
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {TENANT}")


def test_signals_of_another_bind_are_sent_from_there(
    make_db: DBFactory, tmp_path: Path
) -> None:
    """F19, S6."""
    own_db = make_db(binds={"other": f"sqlite:///{tmp_path / 'other.db'}"})
    model = make_model(own_db, "other")
    own_db.create_all()
    record(own_db, model, *"abcd")

    assert own_db.signalbus.flushmany() == 4

    assert own_db.session.query(model).count() == 0
    own_db.session.remove()
    own_db.engines["other"].dispose()


class Fixture:
    """A database whose work on one connection is rolled back after the test."""

    def __init__(self, own_db: Any) -> None:
        self.own_db = own_db
        self.model = make_model(own_db)
        own_db.create_all()
        self._engine = own_db.engine
        self.connection = self._engine.connect()
        self.connection.begin()
        own_db.engines[None] = self.connection

    def close(self) -> list[str]:
        """Roll everything back; return what is in the table nevertheless."""
        self.own_db.session.remove()
        self.connection.rollback()
        self.connection.close()
        self.own_db.engines[None] = self._engine
        with self._engine.connect() as connection:
            return list(connection.scalars(text("SELECT text FROM seen")))


NESTED = {"join_transaction_mode": "create_savepoint"}


@pytest.mark.parametrize("options", [{}, NESTED], ids=["joined", "nested"])
def test_a_connection_in_the_place_of_the_engine_is_worked_on(
    options: dict[str, Any], make_db: DBFactory
) -> None:
    """F19: what a test has recorded is sent, and what the test did is undone."""
    fixture = Fixture(make_db(BothMixins, session_options=dict(options)))
    record(fixture.own_db, fixture.model, *"abcd")

    assert fixture.own_db.signalbus.flushmany() == 4

    assert broker().sent == list("abcd")
    assert fixture.own_db.session.query(fixture.model).count() == 0
    assert fixture.close() == []


def test_a_failure_is_isolated_in_a_transaction_within_the_fixtures_own(
    make_db: DBFactory,
) -> None:
    """F19, F9."""
    fixture = Fixture(make_db(BothMixins, session_options=dict(NESTED)))
    record(fixture.own_db, fixture.model, *"abcd")
    broker().refuse("b")

    with pytest.raises(BrokerRefused):
        fixture.own_db.signalbus.flushmany()

    assert set(broker().sent) == {"a", "c", "d"}
    assert [row.text for row in fixture.own_db.session.query(fixture.model)] == ["b"]
    assert fixture.close() == []


def test_a_failure_that_takes_the_fixtures_transaction_along_says_so(
    make_db: DBFactory,
) -> None:
    """F19: a rollback of the session takes all that the test has recorded."""
    fixture = Fixture(make_db(BothMixins))
    record(fixture.own_db, fixture.model, *"abcd")
    broker().refuse("b")

    with pytest.raises(BrokerRefused) as caught:
        fixture.own_db.signalbus.flushmany()

    assert "join_transaction_mode='create_savepoint'" in caught.value.__notes__[0]
    assert len(broker().calls) == 1
    assert fixture.close() == []


@pytest.mark.parametrize("options", [{}, NESTED], ids=["joined", "nested"])
def test_a_session_that_a_fixture_has_bound_to_a_connection_is_used(
    options: dict[str, Any], make_db: DBFactory
) -> None:
    """F19: the most common fixture of Flask-SQLAlchemy's users."""
    own_db = make_db(BothMixins)
    model = make_model(own_db)
    own_db.create_all()
    connection = own_db.engine.connect()
    outer = connection.begin()
    original = own_db.session
    own_db.session = scoped_session(
        sessionmaker(bind=connection, class_=PlainSession, **options)
    )
    try:
        record(own_db, model, *"abcd")

        assert own_db.signalbus.flushmany() == 4
        assert own_db.session.query(model).count() == 0
    finally:
        own_db.session.remove()
        own_db.session = original
        outer.rollback()
        connection.close()

    assert own_db.session.query(model).count() == 0


@pytest.mark.parametrize("nonsense", [None, "default", 7])
def test_a_session_that_does_not_tell_where_it_writes_is_an_error_in_words(
    nonsense: object, make_db: DBFactory
) -> None:
    """F19: never a silent 0."""
    is_lost: list[bool] = []

    class Lost(Session):
        def get_bind(self, *args: Any, **options: Any) -> Any:
            return nonsense if is_lost else super().get_bind(*args, **options)

    own_db = make_db(SignalBusMixin, session_options={"class_": Lost})
    model = make_model(own_db)
    own_db.create_all()
    record(own_db, model, "a")
    is_lost.append(True)

    with pytest.raises(TypeError, match=r"'get_bind' of the session must return"):
        own_db.signalbus.flushmany()

    assert broker().calls == []
    is_lost.clear()
    assert own_db.signalbus.flushmany() == 1


def test_the_bus_has_not_changed_the_session_of_the_application(
    bus: SignalBus, listen: Callable[..., None]
) -> None:
    """F19: a listener that was there is there afterwards."""
    told: list[object] = []
    listen(db.session, lambda *_: told.append(True))

    bus.flushmany()
    before = len(told)
    db.session.execute(text("SELECT 1"))
    db.session.rollback()

    assert len(told) == before + 1
