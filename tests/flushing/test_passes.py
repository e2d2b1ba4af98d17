"""What a pass sends, in which order, and what it reports."""

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from support.broker import Broker, BrokerRefused
from support.models import Note, Pair, Parcel, Sends, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus


def test_flushmany_sends_what_is_pending_and_returns_how_many(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F2: documented."""
    record(Note, "a", "b", "c", "d")
    record(Parcel, "e")

    sent = bus.flushmany()

    assert (sent, sorted(broker.sent)) == (5, ["a", "b", "c", "d", "e"])
    assert pending(Note) == pending(Parcel) == []


def test_flushing_again_sends_nothing(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F2, F4: what has been sent is gone."""
    record(Note, "a")
    bus.flushmany()

    assert bus.flushmany() == 0
    assert broker.sent == ["a"]


def test_only_the_given_models_are_flushed(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F2: and none at all if none are given."""
    record(Note, "note")
    record(Parcel, "parcel")

    assert bus.flushmany([]) == 0
    assert bus.flushmany([Parcel, Parcel]) == 1
    assert broker.sent == ["parcel"]
    assert pending(Note) == ["note"]


@pytest.mark.parametrize("model", [Note, Parcel, Pair])
def test_signals_are_sent_in_primary_key_order(
    model: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F3: with one flusher, throughout the pass."""
    record(model, *"abcdefghij")

    bus.flushmany([model])

    assert broker.sent == list("abcdefghij")


def test_a_model_in_place_of_a_list_is_refused(bus: SignalBus, record: Record) -> None:
    """F2: the message says what to pass."""
    record(Parcel, "a")
    wrong: Any = Parcel

    with pytest.raises(TypeError, match=r"takes a list of models.*'\[Parcel\]'"):
        bus.flushmany(wrong)


def test_a_model_of_another_database_is_refused(make_db: DBFactory) -> None:
    """F2, S1: its signals do not lie here."""
    other_db, own_db = make_db(), make_db()

    @model_of(other_db)
    class Stranger(Sends, OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    with pytest.raises(RuntimeError, match="'Stranger' is not a signal model of this"):
        own_db.signalbus.flushmany([Stranger])


def test_a_pass_ends_although_producers_keep_recording(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F11: what comes after it has begun is left to the next one."""
    record(Note, *"abcd")
    broker.meanwhile = lambda text: db.session.add(Note(text=f"after {text}"))

    assert bus.flushmany() == 4
    assert broker.sent == list("abcd")
    assert pending(Note) == ["after a", "after b", "after c", "after d"]


def test_each_model_is_logged_once_per_pass_and_no_content_ever(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F18."""
    record(Note, "secret1", "secret2", "secret3", "secret4")
    broker.refuse("secret2")
    caplog.set_level(logging.DEBUG, "swpt_pythonlib")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note, Parcel])

    infos = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert infos == ["Flushing Note.", "Flushing Parcel."]
    assert "secret" not in " ".join(r.getMessage() for r in caplog.records)
