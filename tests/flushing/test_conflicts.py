"""Bursts that lose a race: before, while and after their signals are sent."""

from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from support.broker import Broker
from support.lost_races import LostRaces
from support.models import Note, Parcel
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import DBSerializationError, SignalBus


def test_a_conflict_before_the_send_is_retried_and_sends_once(
    bus: SignalBus, broker: Broker, record: Record, lost_races: LostRaces
) -> None:
    """F10."""
    record(Parcel, *"abcde")

    lost_races.at_deletions(2)

    sent = bus.flushmany([Parcel])

    assert (sent, broker.sent) == (5, list("abcde"))


def test_conflicts_before_the_send_are_retried_a_bounded_number_of_times(
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    lost_races: LostRaces,
) -> None:
    """F10: then the conflict itself is raised."""
    record(Parcel, *"abc")

    lost_races.at_deletions(1000)

    with pytest.raises(DBAPIError):
        bus.flushmany([Parcel])

    assert broker.calls == []
    assert pending(Parcel) == ["a", "b", "c"]
    assert lost_races.lost == app.config["SIGNALBUS_RETRY_POLICY"].attempts


def test_a_sender_may_report_a_conflict(
    bus: SignalBus, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10: DBSerializationError has the burst repeated."""
    record(Note, "a")
    sender = Mock(side_effect=[DBSerializationError, DBSerializationError, None])
    monkeypatch.setattr(Note, "send_signalbus_message", sender)

    assert bus.flushmany() == 1
    assert sender.call_count == 3


def test_a_conflict_at_the_commit_is_not_repeated_by_the_flush(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    lost_races: LostRaces,
) -> None:
    """F10: the signals have been sent; they stay pending, and the caller is told."""
    record(Parcel, *"abc")

    lost_races.at_commits(1)

    with pytest.raises(DBAPIError):
        bus.flushmany([Parcel])

    assert broker.calls == [["a", "b", "c"]]
    assert pending(Parcel) == ["a", "b", "c"]


def test_a_sender_that_always_reports_a_conflict_is_not_called_forever(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F10, F9: a few times, and then its signal is a bad one."""
    record(Parcel, *"abc")

    def lose_with_b(text: str) -> None:
        if text == "b":
            raise DBSerializationError

    broker.meanwhile = lose_with_b

    with pytest.raises(DBSerializationError):
        bus.flushmany()

    assert pending(Parcel) == ["b"]
    assert len(broker.calls) <= 10
