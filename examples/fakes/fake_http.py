"""HTTP, by ``requests``: refused by a status, and by errors."""

from collections.abc import Iterable
from typing import Any

import pytest
import requests

from swpt_pythonlib.flask_signalbus.testing import RecordingBroker

URL = "https://hooks.example/orders"


def send_one(cls: type[Any], signal: Any) -> None:
    response = requests.post(URL, json={"text": signal.text}, timeout=5)
    response.raise_for_status()


def send_many(cls: type[Any], signals: Iterable[Any]) -> None:
    for signal in signals:
        send_one(cls, signal)


# The fake


def response_with(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


def fake(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    broker = RecordingBroker(
        answer=response_with(202),
        refusal=response_with(503),
        error=[requests.ConnectionError, requests.Timeout],
    )

    def post(url: str, json: object = None, **options: Any) -> requests.Response:
        response: requests.Response = broker.accept((url, json))
        return response

    monkeypatch.setattr(requests, "post", post)
    return broker
