"""What is a signal model, how it is flushed, and what can not be one."""

import enum
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, DeclarativeBaseNoMeta

from support.broker import Broker, broker
from support.capabilities import CREATE_SCHEMA, SUPPRESS_DELETE
from support.models import Note, Pair, Parcel, Sends, SendsMany, Ticket, db
from support.signatures import AppFactory, DBFactory, Record
from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    SignalBus,
    SignalBusMixin,
)
from swpt_pythonlib.flask_signalbus._keys import KeyOrder


def text_column() -> sa.Column[str]:
    return sa.Column("text", sa.String(40), nullable=False)


def sent() -> list[str]:
    return broker().sent


def test_signal_models_are_sorted_by_name(bus: SignalBus) -> None:
    """F1: documented."""
    assert bus.get_signal_models() == [Note, Pair, Parcel, Ticket]


def test_an_abstract_base_is_no_signal_model(make_db: DBFactory) -> None:
    """S1: only what is mapped can have signals."""
    own_db = make_db()

    class Base(Sends, own_db.Model):  # type: ignore[misc,name-defined]
        __abstract__ = True
        id = sa.Column(sa.Integer, primary_key=True)

    class Concrete(Base):
        pass

    class Plain(own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)

    assert own_db.signalbus.get_signal_models() == [Concrete]


def test_models_of_one_name_in_two_modules_are_two(make_db: DBFactory) -> None:
    """S1, F1: sorted by module then."""
    own_db = make_db()
    models = [
        type(
            "Order",
            (Sends, own_db.Model),
            {
                "__module__": module,
                "__tablename__": f"order_{module}",
                "id": sa.Column(sa.Integer, primary_key=True),
                "text": text_column(),
            },
        )
        for module in ("shop", "bar")
    ]
    own_db.create_all()
    own_db.session.add_all(model(text=model.__module__) for model in models)
    own_db.session.commit()

    assert own_db.signalbus.get_signal_models() == models[::-1]
    assert own_db.signalbus.flushmany() == 2
    assert sorted(sent()) == ["bar", "shop"]


def test_the_burst_count_is_read_when_the_flush_begins(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: it may be a descriptor that reads the configuration."""

    class Configured:
        def __get__(self, instance: object, owner: type) -> int:
            count: int = current_app.config["BURST"]
            return count

    monkeypatch.setattr(Parcel, "signalbus_burst_count", Configured())
    app = make_app()
    with app.app_context():
        db.session.add_all(Parcel(text=text) for text in "abcd")
        db.session.commit()
        app.config["BURST"] = 2

        db.signalbus.flushmany()

        assert broker().calls == [["a", "b"], ["c", "d"]]


def test_the_burst_count_is_one_if_not_defined(make_db: DBFactory) -> None:
    """S2: documented."""
    own_db = make_db()

    class Simple(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    own_db.session.add_all(Simple(text=text) for text in "ab")
    own_db.session.commit()

    own_db.signalbus.flushmany()

    assert broker().calls == [["a"], ["b"]]


@pytest.mark.parametrize("count", [0, -1, True, "5", 2.0, None])
def test_an_impossible_burst_count_is_an_error_before_anything_is_sent(
    count: Any,
    bus: SignalBus,
    record: Record,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S2: that names the model and the value."""
    record(Note, "a")
    monkeypatch.setattr(Parcel, "signalbus_burst_count", count)

    with pytest.raises(ValueError, match=rf"'Parcel'.*{count!r}"):
        bus.flushmany()

    assert broker.calls == []


class NotAModel:
    send_signalbus_message = print


@pytest.mark.parametrize("thing", [int, NotAModel, db.Model, "Note", None])
def test_what_is_no_signal_model_is_an_error_before_anything_is_sent(
    thing: Any, bus: SignalBus, record: Record, broker: Broker
) -> None:
    """F2: that names it."""
    record(Note, "a")
    name = getattr(thing, "__name__", str(thing))

    with pytest.raises(RuntimeError, match=f"'{name}' is not a signal model"):
        bus.flushmany([Note, thing])

    assert broker.calls == []


@pytest.mark.parametrize("burst", [1, 2])
def test_the_key_need_not_be_the_primary_key_of_the_table(
    burst: int, make_db: DBFactory
) -> None:
    """S6: what the mapper takes for a key is unique."""
    own_db = make_db()

    class Keyless(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        signalbus_burst_count = burst
        __table__ = sa.Table(
            "keyless",
            own_db.metadata,
            sa.Column("number", sa.Integer, nullable=False, unique=True),
            text_column(),
        )
        __mapper_args__ = {"primary_key": [__table__.c.number]}

    own_db.create_all()
    own_db.session.add_all(Keyless(number=i, text=text) for i, text in enumerate("cab"))
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3
    assert sent() == ["c", "a", "b"]


@pytest.mark.parametrize("burst", [1, 4])
def test_a_cascade_to_other_signals_is_refused(burst: int, make_db: DBFactory) -> None:
    """F4: they would be deleted, and never sent."""
    own_db = make_db()

    class Question(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        signalbus_burst_count = burst
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    class Answer(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        question_id = sa.Column(
            sa.Integer, sa.ForeignKey(Question.id, ondelete="CASCADE"), primary_key=True
        )
        text = text_column()

    own_db.create_all()
    own_db.session.add(Question(id=1, text="why?"))
    own_db.session.flush()
    own_db.session.add(Answer(question_id=1, text="because"))
    own_db.session.commit()

    with pytest.raises(RuntimeError, match=r"foreign key 'answer.question_id'"):
        own_db.signalbus.flushmany()

    assert sent() == []
    assert own_db.signalbus.flushmany([Answer]) == 1


def test_a_key_that_compares_in_a_way_of_its_own_is_left_alone() -> None:
    """S6: to widen it, for the planner's sake, would be to compare plain text."""
    column = sa.Column("k", postgresql.CITEXT(), primary_key=True)
    dialect: sa.Dialect = sa.make_url("postgresql://").get_dialect()()

    bound = KeyOrder([column], dialect).is_after("after").compile(dialect=dialect)

    assert "CAST(%(after_0)s AS CITEXT)" in str(bound)


def test_joined_table_inheritance_is_refused(make_db: DBFactory) -> None:
    """S1: a signal lies in exactly one table."""
    own_db = make_db()

    class Whole(own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)
        kind = sa.Column(sa.String(10))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "whole"}

    class Part(Sends, Whole):
        id = sa.Column(sa.ForeignKey(Whole.id), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "part"}

    with pytest.raises(RuntimeError, match=r"'Part'.*exactly one table"):
        own_db.signalbus.flushmany()


def test_an_attribute_that_a_row_hides_is_refused(make_db: DBFactory) -> None:
    """S5: before its value could be mistaken."""
    own_db = make_db()

    class Hidden(Sends, own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)
        _mapping = sa.Column(sa.String(10))

    with pytest.raises(RuntimeError, match=r"'_mapping'.*'Hidden'"):
        own_db.signalbus.flushmany()


def test_columns_go_by_the_names_of_their_attributes(make_db: DBFactory) -> None:
    """S5, S6: in the order of the columns."""
    own_db = make_db()

    class Renamed(Sends, own_db.Model):  # type: ignore[misc,name-defined]
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

    class Elsewhere(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
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
    assert sent() == ["a", "b", "c"]


@pytest.mark.requires("row_locks")
def test_a_schema_may_be_translated(make_db: DBFactory) -> None:
    """S6: what is claimed there is deleted there."""
    own_db = make_db()
    schema = f"{own_db.engine.url.database}_tenant"
    own_db.engine.update_execution_options(schema_translate_map={"tenant": schema})

    class Translated(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
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

    class Narrow(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        signalbus_burst_count = 2
        id = sa.Column(sa.String(3), primary_key=True)
        n = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    wide.create(own_db.engine)
    rows = [{"id": f"long {i}", "n": 2**40 + i, "text": str(i)} for i in range(5)]
    own_db.session.execute(sa.insert(wide), rows)
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 5
    assert sent() == ["0", "1", "2", "3", "4"]


@pytest.mark.requires("suppressed_deletes")
@pytest.mark.parametrize("burst", [1, 3, 10])
def test_a_deletion_that_is_suppressed_is_an_error(
    burst: int, make_db: DBFactory, dialect_name: str
) -> None:
    """F3, F9: of that signal, and of no other."""
    own_db = make_db()

    class Kept(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
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

    assert sent() == ["a", "c", "d", "e"]
    assert own_db.session.scalars(sa.select(Kept.text)).all() == ["b"]


class Decorated(sa.TypeDecorator[Any]):
    """An enumeration with a type of the application's own around it."""

    impl = sa.Enum("RED", "AMBER", "GREEN", name="decorated")
    cache_ok = True


class Color(enum.Enum):
    """Neither in alphabetical order nor sorted by value."""

    RED = 3
    AMBER = 1
    GREEN = 2


START = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
BYTES = sa.LargeBinary(16).with_variant(sa.VARBINARY(16), "mysql", "mariadb")

KEYS: dict[str, tuple[list[Any], Callable[[int], tuple[Any, ...]]]] = {
    "integer": ([sa.Integer], lambda i: (i - 5,)),
    "big integer": ([sa.BigInteger], lambda i: (2**60 + 7 * i,)),
    "numeric": ([sa.Numeric(10, 2)], lambda i: (Decimal(i) / 4,)),
    "uuid": ([sa.Uuid], lambda i: (uuid.uuid5(uuid.NAMESPACE_DNS, str(i)),)),
    "string": ([sa.String(20)], lambda i: (f"{'aÄbz'[i % 4]} '%:\\ {i}",)),
    "date": ([sa.Date], lambda i: (date(2026, 1, 30) + timedelta(days=i),)),
    "datetime": (
        [sa.DateTime(timezone=True)],
        lambda i: (START + timedelta(seconds=i * 17),),
    ),
    "enum": ([sa.Enum(Color), sa.Integer], lambda i: (list(Color)[i % 3], i)),
    "text enum": (
        [sa.Enum(Color, native_enum=False), sa.Integer],
        lambda i: (list(Color)[i % 3], i),
    ),
    "decorated enum": (
        [Decorated, sa.Integer],
        lambda i: (("RED", "AMBER", "GREEN")[i % 3], i),
    ),
    "binary": ([BYTES], lambda i: (bytes([255 - i, 0, i]),)),
    "three columns": (
        [sa.Integer, sa.String(10), sa.BigInteger],
        lambda i: (i // 6, "xy"[i % 2], i),
    ),
}


@pytest.mark.parametrize("burst", [1, 4, 100])
@pytest.mark.parametrize("key", KEYS)
def test_any_type_of_primary_key_works(
    key: str, burst: int, make_db: DBFactory
) -> None:
    """S6, F3, F11: each signal is sent once, in the order of the database."""
    types, value = KEYS[key]
    own_db = make_db()
    columns = {
        f"k{n}": sa.Column(kind, primary_key=True, autoincrement=False)
        for n, kind in enumerate(types)
    }
    model: Any = type(
        "Keyed",
        (SendsMany, own_db.Model),
        {**columns, "text": text_column(), "signalbus_burst_count": burst},
    )
    own_db.create_all()
    for i in (3, 11, 0, 7, 2, 9, 1, 10, 5, 8, 4, 6):
        named = {f"k{n}": part for n, part in enumerate(value(i))}
        own_db.session.add(model(text=str(i), **named))
    own_db.session.commit()
    in_order = sa.select(model.text).order_by(*(model.__table__.primary_key))
    expected = own_db.session.scalars(in_order).all()

    assert own_db.signalbus.flushmany() == 12
    assert sent() == expected


@pytest.mark.requires("partitions")
def test_a_burst_leaves_the_rows_of_other_partitions_alone(make_db: DBFactory) -> None:
    """S6, F3: though they lie at the same places as those it takes."""
    own_db = make_db()

    class Part(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
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
    assert sent() == ["11", "12", "13", "21", "22", "23"]


def test_a_bad_signal_is_found_by_any_type_of_key(make_db: DBFactory) -> None:
    """S6, F9: here by a native enumeration."""
    own_db = make_db()

    class Light(SendsMany, own_db.Model):  # type: ignore[misc,name-defined]
        signalbus_burst_count = 2
        color: Any = sa.Column(sa.Enum(Color), primary_key=True)
        text = text_column()

    own_db.create_all()
    own_db.session.add_all(Light(color=color, text=color.name) for color in Color)
    own_db.session.commit()
    broker().refuse("RED")

    with pytest.raises(Exception, match="RED"):
        own_db.signalbus.flushmany()

    assert own_db.session.scalars(sa.select(Light.text)).all() == ["RED"]


def test_single_table_inheritance_flushes_the_rows_of_one_class(
    make_db: DBFactory,
) -> None:
    """S6: neither its siblings' nor its subclasses'."""
    own_db = make_db()

    class Event(Sends, own_db.Model):  # type: ignore[misc,name-defined]
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
    assert (bus.flushmany([Started]), sent()) == (2, ["Started"] * 2)
    assert not hasattr(broker().objects[0], "reason")
    assert (bus.flushmany([Event]), sent()[2:]) == (2, ["Event"] * 2)
    assert (bus.flushmany(), sent()[4:]) == (2, ["Stopped"] * 2)


def test_a_model_with_a_bind_key_is_flushed_in_its_database(
    make_db: DBFactory, new_database: Callable[[], str]
) -> None:
    """S6."""
    own_db = make_db(binds={"other": new_database()})

    class Here(Sends, own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    class There(Sends, own_db.Model):  # type: ignore[misc,name-defined]
        __bind_key__ = "other"
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    own_db.session.add_all([Here(text="here"), There(text="there")])
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 2
    assert sent() == ["here", "there"]
    own_db.engines["other"].dispose()


class Plain(DeclarativeBase):
    """A declarative base of SQLAlchemy 2."""


class NoMeta(DeclarativeBaseNoMeta):
    """The same without a metaclass."""


BASES = [None, Plain, NoMeta]


@pytest.fixture(params=BASES, ids=str)
def base(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Return the options that choose a declarative base."""
    if request.param is None:
        yield {}
        return

    # Each test has a registry of its own.
    body = {"metadata": sa.MetaData(), "__module__": __name__}
    bases = request.param.__bases__
    yield {"model_class": type(request.param.__name__, bases, body)}


@pytest.mark.parametrize(
    "mixins",
    [
        (SignalBusMixin,),
        (SignalBusMixin, AtomicProceduresMixin),
        (AtomicProceduresMixin, SignalBusMixin),
    ],
    ids=lambda mixins: "+".join(mixin.__name__ for mixin in mixins),
)
def test_every_declarative_base_will_do(
    mixins: tuple[type, ...], base: dict[str, Any], make_db: DBFactory
) -> None:
    """A12: that Flask-SQLAlchemy accepts, with the mixins in any order."""
    own_db = make_db(*mixins, **base)

    class Message(Sends, own_db.Model):  # type: ignore[misc,name-defined]
        __tablename__ = "message"
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    own_db.create_all()
    message: Any = Message()
    message.text = "hello"
    own_db.session.add(message)
    own_db.session.commit()

    assert own_db.signalbus.get_signal_models() == [Message]
    assert own_db.signalbus.flushmany() == 1
    assert sent() == ["hello"]
