"""The signal model keeps the rules of the outbox."""

from typing import Any

import shop.models  # noqa: F401  # the models must be there before the next lines
from flask import Flask
from shop.extensions import db

from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    parametrize_signal_models,
)


@parametrize_signal_models(db)
def test_signal_model(check: Any, app: Flask, broker: RecordingBroker) -> None:
    check(app, broker=broker)
