"""Keys of any shape and type, in any index, in bursts of any size."""

import datetime
import os
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.broker import broker
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory

#: Types of key columns, and values that each database can store.
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (sa.Integer(), st.integers(-(2**31), 2**31 - 1)),
    (sa.BigInteger(), st.integers(-(2**63), 2**63 - 1)),
    # Databases do not agree on which texts are equal, if it is not for these.
    (sa.String(6), st.text("abc", max_size=6)),
    # MariaDB refuses UUIDs of no known version.
    (sa.Uuid(), st.uuids(version=4)),
    (sa.Date(), st.dates(datetime.date(1970, 1, 2), datetime.date(9000, 1, 1))),
    (sa.Boolean(), st.booleans()),
]
NAMES = ("a", "b", "c")
KINDS = ("declared", "primary", "unique", "plain")

Drawn = tuple[list[Any], list[str], list[Any]]


@st.composite
def drawn_keys(draw: st.DrawFn) -> Drawn:
    """Draw the types of a key's columns, their order in its index, and keys."""
    drawn = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))
    # Few different values, so that keys share some of them.
    few = [draw(st.lists(values, min_size=1, max_size=4)) for _, values in drawn]
    key = st.tuples(
        *(
            st.one_of(st.sampled_from(some), values)
            for some, (_, values) in zip(few, drawn, strict=True)
        )
    )
    keys = draw(st.lists(key, max_size=25, unique=True))
    order = draw(st.permutations(NAMES[: len(drawn)]))
    return [type_ for type_, _ in drawn], order, keys


def make_model(database: Any, types: list[Any], burst: int) -> Any:
    def send(cls: Any, signals: Any) -> None:
        broker().take(signals)

    columns = {
        name: sa.Column(type_, primary_key=True, autoincrement=False)
        for name, type_ in zip(NAMES, types, strict=False)
    }
    body = {
        **columns,
        "__tablename__": "drawn",
        "signalbus_burst_count": burst,
        "text": sa.Column(sa.String(200)),
        "send_signalbus_message": classmethod(lambda cls, obj: broker().take([obj])),
        "send_signalbus_messages": classmethod(send),
    }
    return model_of(database)(type("Drawn", (OwnModel,), body))


def make_table(database: Any, types: list[Any], order: list[str], kind: str) -> None:
    items: dict[str, Any] = {
        "primary": sa.PrimaryKeyConstraint(*order),
        "unique": sa.UniqueConstraint(*order),
        "plain": sa.Index("ix_drawn", *order),
    }
    columns = [
        sa.Column(name, type_, nullable=False, autoincrement=False)
        for name, type_ in zip(NAMES, types, strict=False)
    ]
    text = sa.Column("text", sa.String(200))
    table = sa.Table("drawn", sa.MetaData(), *columns, text, items[kind])
    table.create(database.engine)


@settings(
    deadline=None,
    max_examples=25,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=drawn_keys(), kind=st.sampled_from(KINDS), burst=st.integers(1, 12))
def test_what_is_committed_is_sent_once_and_in_the_order_of_the_index(
    drawn: Drawn, kind: str, burst: int, make_db: DBFactory
) -> None:
    """F3, F4, F12: whoever has made the table."""
    types, order, keys = drawn
    own_db = make_db()
    try:
        model = make_model(own_db, types, burst)
        if kind == "declared":
            own_db.create_all()
            order = list(NAMES[: len(types)])
        else:
            make_table(own_db, types, order, kind)
        rows = [dict(zip(NAMES, key, strict=False), text=str(key)) for key in keys]
        if rows:
            own_db.session.execute(sa.insert(model), rows)
        in_order = (getattr(model, name) for name in order)
        query = sa.select(model.text).order_by(*in_order)
        expected = own_db.session.scalars(query).all()
        own_db.session.commit()

        sent = own_db.signalbus.flushmany()

        assert sent == len(keys)
        assert broker().sent == expected
        assert max(map(len, broker().calls), default=0) <= burst
    finally:
        # A transaction that is left open would keep the next example from its table.
        own_db.session.remove()
        own_db.drop_all()
        own_db.engine.dispose()
