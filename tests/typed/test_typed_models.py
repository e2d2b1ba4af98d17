"""What the page on typed models shows does what it says (T1).

That the types are right is not known at run time: 'tox -e typing' checks it.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from . import broker, db_model, extensions
from .procedures import correct_email, place_order, ship


@contextmanager
def tables(db: SQLAlchemy, url: str) -> Generator[None]:
    """Run in the context of an application, whose tables are dropped in the end."""
    app = Flask("typed")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        db.create_all()
        yield
        db.session.remove()
        db.drop_all()
        db.engine.dispose()


@pytest.fixture
def published() -> Generator[list[str]]:
    yield broker.published
    broker.published.clear()


def test_models_of_every_kind_are_sent(
    published: list[str], new_database: Callable[[], str]
) -> None:
    with tables(extensions.db, new_database()):
        order = place_order("alice@example.com")
        is_corrected = correct_email(order.id, "bob@example.com")
        ship(order.id)
        sent = extensions.db.signalbus.flushmany()

    assert (is_corrected, sent) == (True, 3)
    assert published == ["payment of 1", "order 1", "parcel of 1"]


def test_a_model_of_the_database_itself_is_sent(
    published: list[str], new_database: Callable[[], str]
) -> None:
    with tables(db_model.db, new_database()):
        signal = db_model.lose_order(7)
        sent = db_model.db.signalbus.flushmany()

    assert (signal.order_id, sent) == (7, 1)
    assert published == ["loss of 7"]
