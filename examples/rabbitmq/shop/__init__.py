"""A small shop, whose orders are announced to its warehouses over a message broker."""

import logging

from flask import Flask

from .broker import DEFAULT_URL, Publisher
from .commands import commands
from .extensions import db


def create_app() -> Flask:
    """Create the application, as the environment variables ``SHOP_…`` say."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    app = Flask(__name__)
    app.config.update(
        DATABASE_URL="sqlite:///shop.sqlite",
        BROKER_URL=DEFAULT_URL,
        # Seconds: for connecting, and for the confirmation of a burst.
        BROKER_TIMEOUT=10.0,
        BURST_COUNT=100,
    )
    app.config.from_prefixed_env("SHOP")
    app.config["SQLALCHEMY_DATABASE_URI"] = app.config["DATABASE_URL"]
    db.init_app(app)
    app.extensions["publisher"] = Publisher(
        app.config["BROKER_URL"], timeout=app.config["BROKER_TIMEOUT"]
    )
    app.register_blueprint(commands)

    return app
