"""How an application gets back its engines in a suite that rolls back each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError


@contextmanager
def unwrapped(app: Flask, session: Any) -> Iterator[None]:
    """Let an application commit; afterwards, it is wrapped as before.

    The transaction that the suite would roll back is rolled back already, since it
    may hold locks.

    :param session: What ``db.session`` was before the suite has wrapped it.
    """
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    with app.app_context():
        engines: dict[Any, Any] = db.engines  # type: ignore[assignment]
    wrapped = dict(engines)
    for bind in (*wrapped.values(), _bind_of(app, db)):
        if isinstance(bind, Connection) and (transaction := bind.get_transaction()):
            transaction.rollback()
    engines.update({key: bind.engine for key, bind in wrapped.items()})
    try:
        with patch.object(db, "session", session):
            yield
    finally:
        engines.update(wrapped)


def _bind_of(app: Flask, db: SQLAlchemy) -> Engine | Connection | None:
    with app.app_context(), suppress(UnboundExecutionError):
        return db.session.get_bind()

    return None
