"""What the shop and its warehouses do, without a broker."""

import json
from collections.abc import Iterator, Sequence

import pytest
from flask import Flask
from shop.broker import Publisher
from shop.extensions import db
from shop.messages import Message
from shop.models import OrderPlaced, ReceivedMessage, Reservation
from shop.procedures import place_order, receive

from swpt_pythonlib.flask_signalbus import SignalsRefused
from swpt_pythonlib.flask_signalbus.testing import Outbox, RecordingBroker


@pytest.fixture(autouse=True)
def _context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()
        for model in (OrderPlaced, ReceivedMessage, Reservation):
            db.session.query(model).delete()
        db.session.commit()


def reservation(message_id: str) -> Message:
    body = json.dumps({"order_id": 1, "quantity": 3})
    return Message(id=message_id, topic="orders.berlin", body=body)


def test_an_order_is_announced_to_its_warehouse(
    signalbus_outbox: Outbox, broker: RecordingBroker
) -> None:
    order = place_order("berlin", 3)

    signalbus_outbox.flush(OrderPlaced)

    (message,) = broker.sent
    assert message.topic == "orders.berlin"
    assert json.loads(message.body) == {"order_id": order.id, "quantity": 3}


def test_a_message_has_the_same_identifier_however_often_it_is_sent(
    signalbus_outbox: Outbox, broker: RecordingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_order("berlin", 3)
    seen: list[str] = []

    def publish(self: Publisher, messages: Sequence[Message]) -> set[str]:
        seen.extend(message.id for message in messages)
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", publish)
        with pytest.raises(ConnectionError):
            signalbus_outbox.flush(OrderPlaced)
    signalbus_outbox.flush(OrderPlaced)

    assert {broker.sent[0].id} == set(seen)


def test_a_refused_message_stays_and_the_others_are_sent_once(
    signalbus_outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for warehouse in ("berlin", "moon", "berlin"):
        place_order(warehouse, 1)
    stored: list[str] = []

    def publish(self: Publisher, messages: Sequence[Message]) -> set[str]:
        refused = {message.id for message in messages if "moon" in message.topic}
        stored.extend(message.id for message in messages if message.id not in refused)
        return refused

    monkeypatch.setattr(Publisher, "publish", publish)
    with pytest.raises(SignalsRefused):
        signalbus_outbox.flush(OrderPlaced)

    assert [s.warehouse for s in signalbus_outbox.pending(OrderPlaced)] == ["moon"]
    assert len(stored) == 2


def test_a_message_that_comes_twice_is_dealt_with_once() -> None:
    answers = [receive(reservation("a")), receive(reservation("a"))]

    assert answers == [True, False]
    assert db.session.query(Reservation).count() == 1


def test_a_message_that_could_not_be_dealt_with_may_come_again() -> None:
    with pytest.raises(json.JSONDecodeError):
        receive(Message(id="a", topic="orders.berlin", body="{"))

    assert receive(reservation("a"))
