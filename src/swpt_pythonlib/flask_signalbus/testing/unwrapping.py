"""How an application gets back its engines in a suite that rolls back each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any
from unittest.mock import patch

from flask import Flask, has_app_context
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
    # A scope of its own would not be the one in which the suite has begun something.
    with nullcontext() if has_app_context() else app.app_context():
        engines: dict[Any, Any] = db.engines  # type: ignore[assignment]
        binds = [*engines.values(), _bind_of(db)]
        db.session.rollback()
    for bind in binds:
        if isinstance(bind, Connection):
            # Behind SQLAlchemy's back: the suite will end the transaction itself.
            bind.connection.rollback()
    wrapped = dict(engines)
    engines.update({key: bind.engine for key, bind in wrapped.items()})
    try:
        with patch.object(db, "session", session):
            yield
    finally:
        engines.update(wrapped)


def _bind_of(db: SQLAlchemy) -> Engine | Connection | None:
    with suppress(UnboundExecutionError):
        return db.session.get_bind()

    return None
