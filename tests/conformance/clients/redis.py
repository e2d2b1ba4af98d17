"""As much of the real library as the example uses."""

from typing import Any


class RedisError(Exception):
    pass


class ConnectionError(RedisError):
    pass


class TimeoutError(RedisError):
    pass


class ResponseError(RedisError):
    pass


class Redis:
    def __init__(self, **options: Any) -> None:
        raise AssertionError("The example must not send real messages.")

    def xadd(self, stream: str, fields: dict[str, str]) -> Any:
        raise NotImplementedError

    def pipeline(self) -> Any:
        raise NotImplementedError
