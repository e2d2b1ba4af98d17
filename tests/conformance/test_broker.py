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


def test_it_answers_with_a_value() -> None:
    broker = RecordingBroker(answer="ok")

    assert broker.accept("hello") == "ok"
    assert broker.accept_many(["a", "b"]) == ["ok", "ok"]


def test_it_refuses_by_a_value() -> None:
    broker = RecordingBroker(answer="ok", refusal="no")
    broker.refuse_at(1)

    assert broker.accept_many(["a", "b", "c"]) == ["ok", "no", "ok"]
    assert broker.sent == ["a", "c"]
    assert broker.refused == ["no"]


def test_it_refuses_in_each_of_its_ways() -> None:
    broker = RecordingBroker(error=[ConnectionError, TimeoutError], refusal="no")

    refused = []
    for way in range(broker.ways):
        broker.refuse_everything(way=way)
        try:
            refused.append(broker.accept("hello"))
        except OSError as error:
            refused.append(type(error))

    assert refused == [ConnectionError, TimeoutError, "no"]


def test_it_refuses_what_it_is_told_to() -> None:
    broker = RecordingBroker(refusal="no")
    broker.refuse_if(str.isupper)

    broker.accept_many(["a", "B", "c"])

    assert broker.sent == ["a", "c"]


def test_several_publishers_are_one_broker() -> None:
    amqp = RecordingBroker(error=ConnectionError, key=str.casefold)
    http = amqp.also(answer=202, refusal=503)
    amqp.refuse_at(2)

    assert amqp.accept("A") is None
    assert http.accept("B") == 202
    assert http.accept("C") == 503
    assert amqp.accept("D") is None

    assert amqp.sent == http.sent == ["A", "B", "D"]
    assert http.comparable() == ["a", "b", "d"]


def test_a_queued_message_is_sent_when_it_is_confirmed() -> None:
    broker = RecordingBroker(answer="ok", error=ConnectionError)
    broker.refuse_at(1)
    first, second, third = (broker.queue(each) for each in "abc")

    assert (broker.sent, broker.unconfirmed) == ([], 3)
    assert (first.result(), first.result(timeout=5)) == ("ok", "ok")
    assert isinstance(second.exception(), ConnectionError)
    with pytest.raises(ConnectionError):
        second.result()
    assert third.exception() is None

    assert (broker.sent, broker.unconfirmed) == (["a", "c"], 0)


def test_all_that_is_queued_can_be_confirmed_at_once() -> None:
    broker = RecordingBroker(error=ConnectionError)
    broker.queue("a")
    assert broker.confirm() == [None]

    broker.refuse_at(0)
    broker.queue("b")
    broker.queue("c")
    with pytest.raises(ConnectionError):
        broker.confirm()

    assert broker.sent == ["a", "c"]
