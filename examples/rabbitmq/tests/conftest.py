import os
from collections.abc import Iterator, Sequence

import pytest
from flask import Flask
from shop import create_app
from shop.broker import Publisher
from shop.extensions import db
from shop.messages import Message

from swpt_pythonlib.flask_signalbus.testing import RecordingBroker

pytest_plugins = ["swpt_pythonlib.flask_signalbus.testing.plugin"]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return the shop, with its tables."""
    file = tmp_path_factory.mktemp("database") / "shop.sqlite"
    os.environ.setdefault("SHOP_DATABASE_URL", f"sqlite:///{file}")
    app = create_app()
    with app.app_context():
        db.create_all()

    yield app

    with app.app_context():
        db.session.remove()
        db.drop_all()
        db.engine.dispose()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    """Put a broker fake where the shop publishes; it fails as a network does."""
    fake = RecordingBroker(error=ConnectionError)

    def publish(self: Publisher, messages: Sequence[Message]) -> set[str]:
        fake.accept_many(messages)
        return set()

    monkeypatch.setattr(Publisher, "publish", publish)
    return fake
