"""The shop's application factory."""

from flask import Flask

from shop.extensions import db


def create_app(database_url: str) -> Flask:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    return app
