"""As much of the real library as the example uses."""

from typing import Any


class ConnectionParameters:
    def __init__(self, host: str) -> None:
        self.host = host


class BlockingConnection:
    def __init__(self, parameters: Any) -> None:
        raise AssertionError("The example must not send real messages.")

    def channel(self) -> Any:
        raise NotImplementedError
