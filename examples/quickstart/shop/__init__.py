"""A small shop: orders, and the signals that tell others about them."""

import logging
import os
from pathlib import Path

from flask import Flask

from .commands import commands
from .extensions import db


def create_app() -> Flask:
    """Create the application; its database and ``outbox.log`` are in ``instance/``."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    app = Flask(__name__)
    Path(app.instance_path).mkdir(exist_ok=True)
    url = os.environ.get("SHOP_DATABASE_URL", "sqlite:///shop.sqlite")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    app.register_blueprint(commands)

    return app
