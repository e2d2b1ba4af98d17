"""The senders of the shop keep what the bus relies on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from shop import broker, create_app
from shop.extensions import db
from shop.models import InvoiceIssued

from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    parametrize_signal_models,
)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Return the shop, with empty tables of its own."""
    monkeypatch.setenv("SHOP_DATABASE_URL", f"sqlite:///{tmp_path}/shop.sqlite")
    app = create_app()
    with app.app_context():
        db.create_all()
        yield app
        db.engine.dispose()


@pytest.fixture
def shop_broker(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    """Put a fake where the shop publishes; it fails as the real broker does."""
    fake = RecordingBroker(error=broker.BrokerRefused)
    monkeypatch.setattr(broker, "publish", fake.accept_many)
    return fake


def invoice(i: int) -> InvoiceIssued:
    """Return a row that the sender takes; the kit cannot guess an address."""
    return InvoiceIssued(email=f"customer{i}@example.com")


@parametrize_signal_models(db, rows={InvoiceIssued: invoice})
def test_signal_model(check: Any, app: Flask, shop_broker: RecordingBroker) -> None:
    check(app, broker=shop_broker)
