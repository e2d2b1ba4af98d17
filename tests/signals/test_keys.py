"""The keys that signals may have, by name and by type."""

import contextlib
import enum
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from support.broker import broker
from support.models import SendsMany, text_column
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus._keys import KeyOrder


def test_a_key_may_have_any_name(make_db: DBFactory) -> None:
    """S6: even one that the library uses itself."""
    own_db = make_db()
    names = ("place", "limit", "last_0", "only_0", "ctid_")
    columns = {
        name: sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        for name in names
    }
    model: Any = type(
        "Named", (SendsMany, own_db.Model), {**columns, "text": sa.Column(sa.String(9))}
    )
    own_db.create_all()
    own_db.session.add_all(
        model(text=str(i), **dict.fromkeys(names, i)) for i in range(3)
    )
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3


@pytest.mark.parametrize("burst", [1, 2])
def test_the_key_need_not_be_the_primary_key_of_the_table(
    burst: int, make_db: DBFactory
) -> None:
    """S6: what the mapper takes for a key is unique."""
    own_db = make_db()

    @model_of(own_db)
    class Keyless(SendsMany, OwnModel):
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
    assert broker().sent == ["c", "a", "b"]


def test_a_key_that_compares_in_a_way_of_its_own_is_left_alone() -> None:
    """S6: to widen it, for the planner's sake, would be to compare plain text."""
    column = sa.Column("k", postgresql.CITEXT(), primary_key=True)
    dialect: sa.Dialect = sa.make_url("postgresql://").get_dialect()()

    bound = (
        KeyOrder([column], dialect, [None], [None])
        .is_after("after")
        .compile(dialect=dialect)
    )

    assert "CAST(%(after_0)s AS CITEXT)" in str(bound)


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

# With half of its values beyond those of a signed one.
UNSIGNED = sa.Numeric(20, 0).with_variant(
    mysql.BIGINT(unsigned=True), "mysql", "mariadb"
)


KEYS: dict[str, tuple[list[Any], Callable[[int], tuple[Any, ...]]]] = {
    "integer": ([sa.Integer], lambda i: (i - 5,)),
    "big integer": ([sa.BigInteger], lambda i: (2**60 + 7 * i,)),
    "unsigned integer": ([UNSIGNED], lambda i: (2**63 + (i - 6) * 2**40,)),
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
    assert broker().sent == expected


#: What a model declares, what the column is, and what it holds.
OTHER_TYPES: dict[str, tuple[Any, Any, list[str]]] = {
    "an enumeration for a text": (
        sa.String(9),
        sa.Enum("z", "b'", "a", name="hidden_letter"),
        ["a", "b'", "z"],
    ),
    "labels in another order": (
        sa.Enum("a", "b", "z", name="reversed_letter"),
        sa.Enum("z", "b", "a", name="reversed_letter"),
        ["a", "b", "z"],
    ),
    "a text for an enumeration": (
        sa.Enum("z", "b", "a", name="absent_letter"),
        sa.String(9),
        ["a", "b", "z"],
    ),
    "an identifier for a text": (
        sa.String(36),
        sa.Uuid(as_uuid=False),
        [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(i))) for i in range(3)],
    ),
}


@pytest.mark.parametrize("case", OTHER_TYPES)
def test_a_key_is_compared_as_what_it_is_in_the_database(
    case: str, make_db: DBFactory
) -> None:
    """S6, F3: whatever a hand-written table has made of the model."""
    declared, real, values = OTHER_TYPES[case]
    own_db = make_db()
    model = make_disguised(own_db, declared)
    table = create_disguised(own_db, real)
    expected = record_disguised(own_db, table, values)

    assert own_db.signalbus.flushmany([model]) == 9
    assert broker().sent == expected


def test_a_key_is_looked_at_again_when_it_has_become_another(
    make_db: DBFactory,
) -> None:
    """S6, F12: a worker need not be started anew after a migration."""
    own_db = make_db()
    model = make_disguised(own_db, sa.String(9))
    before = create_disguised(own_db, sa.Enum("b", "a", name="few_letters"))
    record_disguised(own_db, before, ["a", "b"])
    assert own_db.signalbus.flushmany([model]) == 6
    before.drop(own_db.engine)
    after = create_disguised(own_db, sa.Enum("b", "a", "c", name="more_letters"))
    expected = record_disguised(own_db, after, ["a", "b", "c"])
    broker().sent.clear()

    with contextlib.suppress(sa.exc.DBAPIError, ValueError):
        own_db.signalbus.flushmany([model])
    own_db.signalbus.flushmany([model])

    assert broker().sent == expected


def test_an_integer_key_may_be_widened_while_a_worker_runs(make_db: DBFactory) -> None:
    """S6, F12: what has outgrown the type that was looked at is sent at once."""
    own_db = make_db()
    model = make_disguised(own_db, sa.Integer)
    before = create_disguised(own_db, sa.Integer)
    record_disguised(own_db, before, [1])
    assert own_db.signalbus.flushmany([model]) == 3
    before.drop(own_db.engine)
    after = create_disguised(own_db, sa.BigInteger)
    record_disguised(own_db, after, [2, 2**40])

    assert own_db.signalbus.flushmany([model]) == 6


def make_disguised(database: Any, declared: Any) -> Any:
    @model_of(database)
    class Disguised(SendsMany, OwnModel):
        signalbus_burst_count = 2
        k: Any = sa.Column(declared, primary_key=True)
        n = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        text = text_column()

    return Disguised


def create_disguised(database: Any, real: Any) -> sa.Table:
    table = sa.Table(
        "disguised",
        sa.MetaData(),
        sa.Column("k", real, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.String(40)),
    )
    table.create(database.engine)
    return table


def record_disguised(database: Any, table: sa.Table, values: list[Any]) -> list[str]:
    """Record three signals for each value; return them in the order of the key."""
    rows = [{"k": k, "n": n, "text": f"{k} {n}"} for k in values for n in range(3)]
    database.session.execute(sa.insert(table), rows)
    database.session.commit()
    in_order = sa.select(table.c.text).order_by(table.c.k, table.c.n)
    return list(database.session.scalars(in_order))


def test_a_bad_signal_is_found_by_any_type_of_key(make_db: DBFactory) -> None:
    """S6, F9: here by a native enumeration."""
    own_db = make_db()

    @model_of(own_db)
    class Light(SendsMany, OwnModel):
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
