"""What is a signal model, what is not, and in what bursts it is sent."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import current_app

from support.broker import Broker, broker
from support.models import (
    Letter,
    Note,
    Pair,
    Parcel,
    Sends,
    SendsMany,
    Ticket,
    db,
    text_column,
)
from support.own_models import OwnModel, model_of
from support.signatures import AppFactory, DBFactory, Record
from swpt_pythonlib.flask_signalbus import SignalBus


def test_signal_models_are_sorted_by_name(bus: SignalBus) -> None:
    """F1: documented."""
    assert bus.get_signal_models() == [Letter, Note, Pair, Parcel, Ticket]


def test_an_abstract_base_is_no_signal_model(make_db: DBFactory) -> None:
    """S1: only what is mapped can have signals."""
    own_db = make_db()

    @model_of(own_db)
    class Base(Sends, OwnModel):
        __abstract__ = True
        id = sa.Column(sa.Integer, primary_key=True)

    class Concrete(Base):
        pass

    @model_of(own_db)
    class Plain(OwnModel):
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
    assert sorted(broker().sent) == ["bar", "shop"]


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

    @model_of(own_db)
    class Simple(SendsMany, OwnModel):
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


@pytest.mark.parametrize("burst", [1, 4])
def test_a_cascade_to_other_signals_is_refused(burst: int, make_db: DBFactory) -> None:
    """F4: they would be deleted, and never sent."""
    own_db = make_db()

    @model_of(own_db)
    class Question(SendsMany, OwnModel):
        signalbus_burst_count = burst
        id = sa.Column(sa.Integer, primary_key=True)
        text = text_column()

    @model_of(own_db)
    class Answer(SendsMany, OwnModel):
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

    assert broker().sent == []
    assert own_db.signalbus.flushmany([Answer]) == 1


def test_joined_table_inheritance_is_refused(make_db: DBFactory) -> None:
    """S1: a signal lies in exactly one table."""
    own_db = make_db()

    @model_of(own_db)
    class Whole(OwnModel):
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

    @model_of(own_db)
    class Hidden(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)
        _mapping = sa.Column(sa.String(10))

    with pytest.raises(RuntimeError, match=r"'_mapping'.*'Hidden'"):
        own_db.signalbus.flushmany()
