"""As much of the real library as the example uses."""

from typing import Any


class KafkaException(Exception):
    pass


class Producer:
    def __init__(self, configuration: dict[str, str]) -> None:
        raise AssertionError("The example must not send real messages.")

    def produce(self, topic: str, value: bytes, on_delivery: Any = None) -> None:
        raise NotImplementedError

    def flush(self, timeout: float) -> int:
        raise NotImplementedError
