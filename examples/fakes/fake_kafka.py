"""Kafka, by ``confluent_kafka``: a callback tells what became of each message."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import confluent_kafka
import pytest

from swpt_pythonlib.flask_signalbus import SignalsRefused
from swpt_pythonlib.flask_signalbus.testing import RecordingBroker


def send_one(cls: type[Any], signal: Any) -> None:
    send_many(cls, [signal])


def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
    refused: list[Any] = []

    def note(signal: Any, error: object, message: object) -> None:
        if error is not None:
            refused.append(signal)

    producer = confluent_kafka.Producer({"bootstrap.servers": "localhost"})
    for signal in signals:
        producer.produce(
            "orders", signal.text.encode(), on_delivery=partial(note, signal)
        )
    if producer.flush(10):
        raise TimeoutError("Not all messages were confirmed.")
    if refused:
        raise SignalsRefused(refused)


# The fake


class FakeProducer:
    def __init__(self, broker: RecordingBroker) -> None:
        self.broker = broker
        self.waiting: list[tuple[Any, Callable[..., None]]] = []

    def produce(
        self,
        topic: str,
        value: bytes,
        on_delivery: Callable[..., None] = lambda error, message: None,
    ) -> None:
        self.waiting.append((self.broker.queue((topic, value)), on_delivery))

    def flush(self, timeout: float | None = None) -> int:
        waiting, self.waiting = self.waiting, []
        for confirmation, on_delivery in waiting:
            on_delivery(confirmation.exception(), None)
        return 0


def fake(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    broker = RecordingBroker(error=confluent_kafka.KafkaException)
    monkeypatch.setattr(
        confluent_kafka, "Producer", lambda configuration: FakeProducer(broker)
    )
    return broker
