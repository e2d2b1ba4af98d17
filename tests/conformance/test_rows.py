"""Sample rows for every type of column that has a plausible value."""

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from conformance.applications import Database, signal_model
from swpt_pythonlib.flask_signalbus.testing import CannotCheck, default_row


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shouted(sa.types.TypeDecorator[str]):
    impl = sa.String(20)
    cache_ok = True


@pytest.mark.parametrize(
    ("column_type", "value"),
    [
        (sa.Integer(), 4),
        (sa.BigInteger(), 4),
        (mysql.TINYINT(), 4),
        (mysql.YEAR(), 2003),
        (sa.Numeric(1), Decimal(3)),
        (sa.CHAR(), "3"),
        (sa.BINARY(), b"\3"),
        (mysql.BIT(2), 3),
        (mysql.LONGBLOB(), b"\0\0\0\0\0\0\0\3"),
        (postgresql.BIT(4), "0011"),
        (postgresql.MONEY(), "3.50"),
        (postgresql.OID(), 4),
        (postgresql.TSVECTOR(), "'sample3'"),
        (postgresql.JSONPATH(), "$.sample[3]"),
        (postgresql.DOMAIN("short", sa.String(4)), "3"),
        (postgresql.INT4RANGE(), postgresql.Range(3, 4)),
        (postgresql.NUMMULTIRANGE(), [postgresql.Range(Decimal(3), Decimal(4))]),
        (sa.String(), "sample 0003"),
        (sa.String(4), "3"),
        (sa.Text(), "sample 0003"),
        (Shouted(), "sample 0003"),
        (sa.Boolean(), False),
        (sa.Float(), 3.5),
        (sa.Numeric(10, 2), Decimal("0.03")),
        (sa.Numeric(), Decimal(3)),
        (sa.Date(), date(2024, 1, 4)),
        (sa.DateTime(), datetime(2024, 1, 1, 0, 0, 3)),
        (sa.DateTime(timezone=True), datetime(2024, 1, 1, 0, 0, 3, tzinfo=UTC)),
        (sa.Time(), time(0, 0, 3)),
        (sa.Interval(), timedelta(seconds=4)),
        (postgresql.INTERVAL(), timedelta(seconds=4)),
        (sa.Uuid(), uuid.UUID(int=4)),
        (sa.Uuid(as_uuid=False), str(uuid.UUID(int=4))),
        (sa.Enum(Color), Color.BLUE),
        (sa.Enum("red", "blue"), "blue"),
        (mysql.SET("a", "b"), {"b"}),
        (sa.LargeBinary(), b"\0\0\0\0\0\0\0\3"),
        (mysql.VARBINARY(2), b"\0\3"),
        (sa.JSON(), {"sample": 3}),
        (postgresql.JSONB(), {"sample": 3}),
        (sa.PickleType(), {"sample": 3}),
        (sa.ARRAY(sa.Integer), [4]),
        (postgresql.ARRAY(sa.Integer, dimensions=2), [[4]]),
        (postgresql.HSTORE(), {"sample": "3"}),
        (postgresql.INET(), "10.0.0.3"),
        (postgresql.CIDR(), "10.0.3.0/24"),
        (postgresql.MACADDR(), "00:00:00:00:00:03"),
    ],
    ids=repr,
)
def test_a_type_has_a_sample(column_type: Any, value: object) -> None:
    model = signal_model(Database(), value=sa.Column(column_type, nullable=False))

    assert default_row(model, 3).value == value


def test_values_may_be_passed_for_what_cannot_be_guessed() -> None:
    model = signal_model(
        Database(), other_id=sa.Column(sa.ForeignKey("signal.id"), nullable=False)
    )

    row = default_row(model, 3, other_id=1)

    assert (row.other_id, row.text) == (1, "sample 0003")


def test_a_value_for_nothing_is_an_error() -> None:
    model = signal_model(Database())

    with pytest.raises(TypeError, match="'Signal' has no attribute 'txt'"):
        default_row(model, 3, txt="x")


def test_what_is_filled_in_elsewhere_is_left_alone() -> None:
    model = signal_model(
        Database(),
        created=sa.Column(sa.DateTime, default=datetime.now),
        updated=sa.Column(sa.DateTime, server_default=sa.func.now()),
        other_id=sa.Column(sa.ForeignKey("signal.id")),
        unknown=sa.Column(sa.types.NullType()),
    )

    row = default_row(model, 3)

    assert (row.id, row.created, row.updated) == (None, None, None)
    assert (row.other_id, row.unknown) == (None, None)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(sa.Column(sa.types.NullType(), nullable=False), id="unknown"),
        pytest.param(sa.Column(sa.ForeignKey("signal.id"), nullable=False), id="key"),
    ],
)
def test_what_cannot_be_guessed_has_to_be_passed(column: sa.Column[Any]) -> None:
    model = signal_model(Database(), value=column)

    with pytest.raises(CannotCheck, match=r"'value' of 'Signal'.* Pass rows=\{Signal:"):
        default_row(model, 3)
