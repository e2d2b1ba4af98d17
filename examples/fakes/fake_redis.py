"""A stream of Redis, by ``redis``: in bulk, a pipeline is sent when it is executed."""

from collections.abc import Iterable
from typing import Any

import pytest
import redis

from swpt_pythonlib.flask_signalbus.testing import RecordingBroker


def send_one(cls: type[Any], signal: Any) -> None:
    redis.Redis().xadd("orders", {"text": signal.text})


def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
    with redis.Redis().pipeline() as pipeline:
        for signal in signals:
            pipeline.xadd("orders", {"text": signal.text})
        pipeline.execute()


# The fake


class FakeRedis:
    def __init__(self, broker: RecordingBroker) -> None:
        self.broker = broker

    def xadd(self, stream: str, fields: dict[str, str], **options: Any) -> Any:
        return self.broker.accept((stream, fields))

    def pipeline(self, **options: Any) -> "FakePipeline":
        return FakePipeline(self.broker)


class FakePipeline:
    def __init__(self, broker: RecordingBroker) -> None:
        self.broker = broker

    def __enter__(self) -> "FakePipeline":
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def xadd(self, stream: str, fields: dict[str, str], **options: Any) -> None:
        self.broker.queue((stream, fields))

    def execute(self) -> list[Any]:
        return self.broker.confirm()


def fake(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    broker = RecordingBroker(
        answer=b"1700000000000-0",
        error=[redis.ConnectionError, redis.TimeoutError, redis.ResponseError],
    )
    monkeypatch.setattr(redis, "Redis", lambda **options: FakeRedis(broker))
    return broker
