import os
from collections.abc import Iterator

import pytest
from flask import Flask
from shop import broker, create_app
from shop.extensions import db
from shop.models import Customer

from swpt_pythonlib.flask_signalbus.testing import RecordingBroker

pytest_plugins = ["swpt_pythonlib.flask_signalbus.testing.plugin"]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return the shop, with its tables and a customer."""
    file = tmp_path_factory.mktemp("database") / "shop.db"
    app = create_app(os.environ.get("DATABASE_URL") or f"sqlite:///{file}")
    with app.app_context():
        db.create_all()
        db.session.add(Customer(id=1, name="Alice"))
        db.session.commit()

    yield app

    with app.app_context():
        db.session.remove()
        db.drop_all()
        db.engine.dispose()


@pytest.fixture
def shop_broker(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    """Put a broker fake where the shop publishes; it fails as the real broker does."""
    fake = RecordingBroker(error=broker.BrokerError)
    monkeypatch.setattr(broker, "publish", fake.accept_many)
    return fake
