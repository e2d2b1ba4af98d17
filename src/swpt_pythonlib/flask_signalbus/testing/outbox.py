"""A look into the outbox, for an application's own tests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..signalbus import SignalBus


class Outbox:
    """What an application has recorded to be sent.

    It looks at what is committed, on a session of its own. Make it of the application:
    ``Outbox(app)``.

    .. versionadded:: 1.0
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    def pending(self, model: type[Any]) -> list[Any]:
        """Return the pending signals of a model, in the order of the primary key."""
        db: SQLAlchemy = self._app.extensions["sqlalchemy"]
        key = sa.inspect(model).primary_key
        with self._app.app_context():
            signals = db.session.scalars(sa.select(model).order_by(*key)).all()
            db.session.expunge_all()
            return list(signals)

    def flush(self, *models: type[Any]) -> int:
        """Send the pending signals of the models; return how many were sent."""
        with self._app.app_context():
            bus: SignalBus = self._app.extensions["signalbus"]
            return bus.flushmany(models or None)

    def assert_recorded(self, model: type[Any], n: int = 1, **columns: Any) -> None:
        """Expect a number of pending signals with the given values.

        :raises AssertionError: If there are more or fewer; the message lists all.
        """
        names = [attribute.key for attribute in sa.inspect(model).column_attrs]
        pending = [
            {name: getattr(signal, name) for name in names}
            for signal in self.pending(model)
        ]
        matching = [values for values in pending if columns.items() <= values.items()]
        if len(matching) != n:
            listing = "".join(f"\n  {values}" for values in pending) or " nothing"
            raise AssertionError(
                f"{len(matching)} signals of '{model.__name__}' have {columns}, "
                f"not {n}. Pending:{listing}"
            )
