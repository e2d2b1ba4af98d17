"""AMQP, by ``pika``: nobody knows what became of a message without confirmations."""

from collections.abc import Iterable
from typing import Any

import pika
import pika.exceptions
import pytest

from swpt_pythonlib.flask_signalbus.testing import RecordingBroker


def open_channel() -> Any:
    channel = pika.BlockingConnection(pika.ConnectionParameters("localhost")).channel()
    channel.confirm_delivery()
    return channel


def send_one(cls: type[Any], signal: Any) -> None:
    send_many(cls, [signal])


def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
    channel = open_channel()
    for signal in signals:
        channel.basic_publish("orders", "paid", signal.text.encode(), mandatory=True)


# The fake


class FakeConnection:
    def __init__(self, broker: RecordingBroker) -> None:
        self.broker = broker

    def channel(self) -> "FakeChannel":
        return FakeChannel(self.broker)


class FakeChannel:
    def __init__(self, broker: RecordingBroker) -> None:
        self.broker = broker
        self.confirms = False

    def confirm_delivery(self) -> None:
        self.confirms = True

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, *args: Any, **options: Any
    ) -> None:
        confirmation = self.broker.queue((exchange, routing_key, body))
        if self.confirms:
            confirmation.result()


def fake(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    broker = RecordingBroker(
        error=[
            pika.exceptions.AMQPConnectionError,
            lambda text: pika.exceptions.UnroutableError([]),
            lambda text: pika.exceptions.NackError([]),
        ]
    )
    monkeypatch.setattr(
        pika, "BlockingConnection", lambda parameters: FakeConnection(broker)
    )
    return broker
