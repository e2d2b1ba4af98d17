"""The keys that signals may have, by name and by type."""

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
        KeyOrder([column], dialect, [None]).is_after("after").compile(dialect=dialect)
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
