"""Constraints that would be checked at the commit are checked before the send."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, Integer, String, Table, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import mapped_column
from sqlalchemy.schema import CreateSchema, DropSchema

from support.broker import Broker, broker
from support.models import Parcel, SendsMany, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Record
from swpt_pythonlib.flask_signalbus import SignalBus

pytestmark = pytest.mark.requires("late_constraints")

NAMES = ["plain", "Odd: na%me", 'quo"ted', "semi;colon", "back\\slash :x"]
_LATE: dict[str, Any] = {"deferrable": True, "initially": "DEFERRED"}


def make_models(database: SQLAlchemy, schema: str | None, name: str) -> Any:
    """Return a signal model, and one whose rows refer to it, as of the commit."""

    @model_of(database)
    class Late(SendsMany, OwnModel):
        __tablename__ = name
        __table_args__ = {"schema": schema}
        signalbus_burst_count = 3
        id = mapped_column(Integer, primary_key=True, autoincrement=False)
        text = mapped_column(String(40))

    @model_of(database)
    class Trace(OwnModel):
        __tablename__ = f"{name} trace"
        __table_args__ = {"schema": schema}
        id = mapped_column(Integer, primary_key=True)
        late_id = mapped_column(ForeignKey(Late.id, **_LATE))

    return Late, Trace


@pytest.fixture
def make_late(make_db: DBFactory) -> Iterator[Callable[..., Any]]:
    """Return what makes the two models and their tables, and records three signals."""
    schemas = []
    made = []

    def make_late(schema: str | None = None, name: str = "late") -> Any:
        own_db = make_db()
        made.append(own_db)
        models = make_models(own_db, schema, name)
        if schema is not None:
            schemas.append(schema)
            own_db.session.execute(CreateSchema(schema))
            own_db.session.commit()
        own_db.create_all()
        own_db.session.add_all(models[0](id=i, text=str(i)) for i in (1, 2, 3))
        own_db.session.commit()
        return (own_db, *models)

    yield make_late

    for schema in schemas:
        made[-1].session.rollback()
        made[-1].session.execute(DropSchema(schema, cascade=True))
        made[-1].session.commit()


@contextmanager
def statements(engine: Any) -> Iterator[list[str]]:
    """Note what is executed."""
    executed: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        executed.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("schema", "name"),
    [*((None, name) for name in NAMES), *((name, name) for name in NAMES)],
)
def test_a_signal_that_is_still_referred_to_is_not_sent(
    schema: str | None, name: str, make_late: Callable[..., Any]
) -> None:
    """F21, F9: the others are."""
    own_db, late, trace = make_late(schema, name)
    own_db.session.add(trace(late_id=2))
    own_db.session.commit()

    with pytest.raises(IntegrityError):
        own_db.signalbus.flushmany()

    assert broker().sent == ["1", "3"]
    assert [row.id for row in own_db.session.query(late)] == [2]


def test_a_trigger_that_waits_for_the_commit_is_asked_before_the_send(
    make_late: Callable[..., Any],
) -> None:
    """F21."""
    own_db, late, _ = make_late()
    for statement in (
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF old.id = 2 THEN RAISE 'no' USING ERRCODE = '23514'; END IF;"
        " RETURN old; END $$",
        "CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON late"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
    ):
        own_db.session.execute(text(statement))
    own_db.session.commit()

    with pytest.raises(IntegrityError):
        own_db.signalbus.flushmany()

    assert broker().sent == ["1", "3"]
    assert [row.id for row in own_db.session.query(late)] == [2]


def test_a_sender_may_rely_on_a_constraint_that_waits(
    make_late: Callable[..., Any],
) -> None:
    """F21, F6: one of its own is checked at the commit as ever."""
    own_db, _, __ = make_late()
    own = own_db.metadata
    parent = Table("parent", own, Column("id", Integer, primary_key=True))
    key = ForeignKey(parent.c.id, **_LATE)
    child = Table("child", own, Column("parent_id", key, primary_key=True))
    own_db.create_all()

    def meanwhile(text: str) -> None:
        number = int(text)
        own_db.session.execute(child.insert().values(parent_id=number))
        own_db.session.execute(parent.insert().values(id=number))

    broker().meanwhile = meanwhile

    assert own_db.signalbus.flushmany() == 3
    assert len(own_db.session.execute(child.select()).all()) == 3


def test_a_constraint_that_was_dropped_meanwhile_does_not_stop_the_flush(
    make_late: Callable[..., Any],
) -> None:
    """F21, F9: a migration may run beside a worker, which looks at a table once."""
    own_db, late, trace = make_late()
    own_db.signalbus.flushmany()
    trace.__table__.drop(own_db.engine)
    own_db.session.add(late(id=4, text="4"))
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 1


def test_nothing_is_asked_where_there_is_no_such_constraint(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F21: a key that is checked at once needs no statement."""
    record(Parcel, "z")
    bus.flushmany([Parcel])
    record(Parcel, *"abc")

    with statements(db.engine) as executed:
        bus.flushmany([Parcel])

    assert [each for each in executed if "CONSTRAINTS" in each] == []
    # The newest key, and the burst.
    assert len(executed) == 2


def test_one_statement_a_burst_is_asked_where_there_is_one(
    make_late: Callable[..., Any],
) -> None:
    """F21."""
    own_db, *_ = make_late()
    with statements(own_db.engine) as executed:
        own_db.signalbus.flushmany()

    assert len([each for each in executed if "SET CONSTRAINTS" in each]) == 1
