"""The tables in which signals may lie."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from support.broker import broker
from support.capabilities import CREATE_SCHEMA, SUPPRESS_DELETE
from support.models import Sends, SendsMany, text_column
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory


def test_columns_go_by_the_names_of_their_attributes(make_db: DBFactory) -> None:
    """S5, S6: in the order of the columns."""
    own_db = make_db()

    @model_of(own_db)
    class Renamed(Sends, OwnModel):
        __tablename__ = "Select 100 % Renamed"
        key = sa.Column("Primary :key %", sa.Integer, primary_key=True)
        count = sa.Column("order", sa.Integer, default=7)
        text = sa.Column("the : text", sa.String(10))

    own_db.create_all()
    own_db.session.add(Renamed(key=5, text="x"))
    own_db.session.commit()

    own_db.signalbus.flushmany()

    (obj,) = broker().objects
    assert (obj.key, obj.count, obj.text) == (5, 7, "x")
    assert str(obj) == "(5, 7, 'x')"


def test_a_table_may_lie_in_a_schema(make_db: DBFactory, dialect_name: str) -> None:
    """S6: and need quoting."""
    own_db = make_db()
    url = own_db.engine.url
    schema = "extra" if url.host is None else f"{url.database}_extra"

    @model_of(own_db)
    class Elsewhere(SendsMany, OwnModel):
        __tablename__ = "order :by %"
        __table_args__ = {"schema": schema}
        signalbus_burst_count = 2
        id = sa.Column("the :key", sa.Integer, primary_key=True)
        text = text_column()

    own_db.session.execute(sa.text(CREATE_SCHEMA[dialect_name].format(schema)))
    own_db.session.commit()
    own_db.create_all()
    own_db.session.add_all(Elsewhere(text=text) for text in "abc")
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3
    assert broker().sent == ["a", "b", "c"]


@pytest.mark.requires("row_locks")
def test_a_schema_may_be_translated(make_db: DBFactory) -> None:
    """S6: what is claimed there is deleted there."""
    own_db = make_db()
    schema = f"{own_db.engine.url.database}_tenant"
    own_db.engine.update_execution_options(schema_translate_map={"tenant": schema})

    @model_of(own_db)
    class Translated(SendsMany, OwnModel):
        __table_args__ = {"schema": "tenant"}
        signalbus_burst_count = 2
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.session.execute(sa.text(f"CREATE SCHEMA {schema}"))
    own_db.session.commit()
    own_db.create_all()
    own_db.session.add_all(Translated(text=text) for text in "abc")
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3
    assert own_db.session.scalars(sa.select(Translated.text)).all() == []


def test_a_column_may_hold_more_than_its_model_declares(make_db: DBFactory) -> None:
    """S6: nothing is cut off its values."""
    own_db = make_db()
    wide = sa.Table(
        "narrow",
        sa.MetaData(),
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True),
        sa.Column("text", sa.String(40)),
    )

    @model_of(own_db)
    class Narrow(SendsMany, OwnModel):
        signalbus_burst_count = 2
        id = sa.Column(sa.String(3), primary_key=True)
        n = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    wide.create(own_db.engine)
    rows = [{"id": f"long {i}", "n": 2**40 + i, "text": str(i)} for i in range(5)]
    own_db.session.execute(sa.insert(wide), rows)
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 5
    assert broker().sent == ["0", "1", "2", "3", "4"]


@pytest.mark.requires("suppressed_deletes")
@pytest.mark.parametrize("burst", [1, 3, 10])
def test_a_deletion_that_is_suppressed_is_an_error(
    burst: int, make_db: DBFactory, dialect_name: str
) -> None:
    """F3, F9: of that signal, and of no other."""
    own_db = make_db()

    @model_of(own_db)
    class Kept(SendsMany, OwnModel):
        signalbus_burst_count = burst
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    for statement in SUPPRESS_DELETE[dialect_name]:
        own_db.session.execute(sa.text(statement))
    own_db.session.add_all(Kept(text=text) for text in "abcde")
    own_db.session.commit()

    with pytest.raises(RuntimeError, match=r"'Kept' could be deleted"):
        own_db.signalbus.flushmany()

    assert broker().sent == ["a", "c", "d", "e"]
    assert own_db.session.scalars(sa.select(Kept.text)).all() == ["b"]


@pytest.mark.requires("partitions")
def test_a_burst_leaves_the_rows_of_other_partitions_alone(make_db: DBFactory) -> None:
    """S6, F3: though they lie at the same places as those it takes."""
    own_db = make_db()

    @model_of(own_db)
    class Part(SendsMany, OwnModel):
        __table_args__ = {"postgresql_partition_by": "LIST (a)"}
        signalbus_burst_count = 2
        a = sa.Column(sa.Integer, primary_key=True)
        b = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    for a in (1, 2):
        ddl = f"CREATE TABLE part_{a} PARTITION OF part FOR VALUES IN ({a})"
        own_db.session.execute(sa.text(ddl))
        own_db.session.add_all(Part(a=a, b=b, text=f"{a}{b}") for b in (1, 2, 3))
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 6
    assert broker().sent == ["11", "12", "13", "21", "22", "23"]


@pytest.mark.requires("partitions")
def test_a_table_that_has_been_given_a_child_since_then_is_flushed_with_it(
    make_db: DBFactory,
) -> None:
    """S6, F12: a worker need not be started anew."""
    own_db = make_db()

    @model_of(own_db)
    class Parent(SendsMany, OwnModel):
        signalbus_burst_count = 2
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    own_db.session.add(Parent(id=1, text="1"))
    own_db.session.commit()
    assert own_db.signalbus.flushmany() == 1

    own_db.session.execute(sa.text("CREATE TABLE child () INHERITS (parent)"))
    for table, key in (("child", 2), ("parent", 3), ("child", 4), ("child", 5)):
        insert = f"INSERT INTO {table} (id, text) VALUES ({key}, '{key}')"
        own_db.session.execute(sa.text(insert))
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 4
    assert sorted(broker().sent) == list("12345")
    own_db.session.execute(sa.text("DROP TABLE child"))
    own_db.session.commit()


def test_single_table_inheritance_flushes_the_rows_of_one_class(
    make_db: DBFactory,
) -> None:
    """S6: neither its siblings' nor its subclasses'."""
    own_db = make_db()

    @model_of(own_db)
    class Event(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)
        kind = sa.Column(sa.String(10), nullable=False)
        text = text_column()
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "event"}

    class Started(Event):
        speed = sa.Column(sa.Integer)
        __mapper_args__ = {"polymorphic_identity": "started"}

    class Stopped(Event):
        reason = sa.Column(sa.String(10))
        __mapper_args__ = {"polymorphic_identity": "stopped"}

    own_db.create_all()
    for model in (Event, Started, Stopped, Event, Started, Stopped):
        own_db.session.add(model(text=model.__name__))
    own_db.session.commit()
    bus = own_db.signalbus

    assert bus.get_signal_models() == [Event, Started, Stopped]
    assert (bus.flushmany([Started]), broker().sent) == (2, ["Started"] * 2)
    assert not hasattr(broker().objects[0], "reason")
    assert (bus.flushmany([Event]), broker().sent[2:]) == (2, ["Event"] * 2)
    assert (bus.flushmany(), broker().sent[4:]) == (2, ["Stopped"] * 2)


def test_a_model_with_a_bind_key_is_flushed_in_its_database(
    make_db: DBFactory, new_database: Callable[[], str]
) -> None:
    """S6."""
    own_db = make_db(binds={"other": new_database()})

    @model_of(own_db)
    class Here(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    @model_of(own_db)
    class There(Sends, OwnModel):
        __bind_key__ = "other"
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    own_db.session.add_all([Here(text="here"), There(text="there")])
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 2
    assert broker().sent == ["here", "there"]
    own_db.engines["other"].dispose()
