"""The broker fake."""

import pytest

from swpt_pythonlib.flask_signalbus.testing import BrokerRefused, RecordingBroker


def test_it_records_one_argument_as_it_is_and_more_as_a_pair() -> None:
    broker = RecordingBroker()

    broker.accept("hello")
    broker.accept("exchange", "hello", routing_key="all")

    assert broker.sent == ["hello", (("exchange", "hello"), {"routing_key": "all"})]


def test_it_refuses_everything_until_told_otherwise() -> None:
    broker = RecordingBroker()
    broker.refuse_everything()

    with pytest.raises(BrokerRefused, match="message number 0"):
        broker.accept("hello")
    broker.accept_everything()
    broker.accept("hello again")

    assert broker.sent == ["hello again"]


def test_it_refuses_at_a_position_and_accepts_what_came_before() -> None:
    broker = RecordingBroker()
    broker.accept("earlier")
    broker.refuse_at(1)

    with pytest.raises(BrokerRefused):
        broker.accept_many(["a", "b", "c"])

    assert broker.sent == ["earlier", "a"]
    assert broker.offered == 2


def test_it_fails_as_the_real_client_does() -> None:
    broker = RecordingBroker(error=ConnectionError)
    broker.refuse_everything()

    with pytest.raises(ConnectionError):
        broker.accept("hello")


def test_messages_are_compared_by_a_key() -> None:
    broker = RecordingBroker(key=str.casefold)

    broker.accept_many(["A", "a"])

    assert broker.comparable() == ["a", "a"]


def test_it_forgets_what_it_saw_and_what_it_was_told() -> None:
    broker = RecordingBroker()
    broker.accept("hello")
    broker.refuse_everything()

    broker.forget()
    broker.accept("hello again")

    assert broker.sent == ["hello again"]
