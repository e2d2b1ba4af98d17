"""The engines of an application with a given configuration."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

Engines = Mapping[str | None, sa.Engine]


@contextmanager
def engines_of(database: SQLAlchemy, **config: Any) -> Iterator[Engines]:
    """Yield the engines of an application with this configuration."""
    app = Flask("engines")
    app.config.update(config)
    database.init_app(app)
    with app.app_context():
        yield database.engines
        database.session.remove()
        for engine in database.engines.values():
            engine.dispose()
