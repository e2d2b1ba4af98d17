"""A look into the outbox, for an application's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import SQLAlchemyError

from ..signalbus import SignalBus
from .comparing import parts, same

_Keys = list[sa.Row[Any]]


class Outbox:
    """What an application has recorded to be sent.

    It looks at what is committed, on a session of its own. Make it of the application:
    ``Outbox(app)``.

    .. versionadded:: 1.0
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    @property
    def _db(self) -> SQLAlchemy:
        db: SQLAlchemy = self._app.extensions["sqlalchemy"]
        return db

    @property
    def _bus(self) -> SignalBus:
        bus: SignalBus = self._app.extensions["signalbus"]
        return bus

    def pending(self, model: type[Any]) -> list[Any]:
        """Return the pending signals of a model, in the order of the primary key."""
        key = sa.inspect(model).primary_key
        with self._app.app_context():
            session = self._db.session
            signals = session.scalars(sa.select(model).order_by(*key)).all()
            session.expunge_all()
            return list(signals)

    def flush(self, *models: type[Any]) -> int:
        """Send the pending signals of the models; return how many were sent."""
        with self._app.app_context():
            return self._bus.flushmany(models or None)

    def clear(self, *models: type[Any]) -> int:
        """Delete the pending signals of the models, without sending them.

        :param models: By default, all of the signal models.
        :return: How many there were.

        .. versionadded:: 1.1
        """
        with self._app.app_context():
            chosen = models or tuple(self._bus.get_signal_models())
        return sum(self._delete(model, but=[]) for model in chosen)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Delete in the end what was not pending in the beginning.

        .. versionadded:: 1.1
        """
        before = dict(self._all_keys())
        try:
            yield
        finally:
            # What the test has left open must not hold a lock.
            if has_app_context() and current_app == self._app:
                self._db.session.rollback()
            for model, keys in before.items():
                self._delete(model, but=keys)

    def _all_keys(self) -> Iterator[tuple[type[Any], _Keys]]:
        with self._app.app_context():
            models = self._bus.get_signal_models()
        for model in models:
            # Whose table does not exist has left nothing there.
            with suppress(SQLAlchemyError):
                yield model, self._keys(model)

    def _keys(self, model: type[Any]) -> _Keys:
        with self._app.app_context():
            key = _key_of(model)
            return list(self._db.session.execute(sa.select(*key)).all())

    def _delete(self, model: type[Any], *, but: _Keys) -> int:
        kept = set(map(repr, but))
        keys = [key for key in self._keys(model) if repr(key) not in kept]
        columns = _key_of(model)
        with self._app.app_context():
            for key in keys:
                found = (c == value for c, value in zip(columns, key, strict=True))
                self._db.session.execute(sa.delete(model).where(*found))
            if keys:
                self._db.session.commit()
        return len(keys)

    def assert_recorded(self, model: type[Any], n: int = 1, **columns: Any) -> None:
        """Expect a number of pending signals with the given values.

        :raises AssertionError: If there are more or fewer; the message lists all, and
            in what each differs.
        """
        names = [attribute.key for attribute in sa.inspect(model).column_attrs]
        pending = [
            {name: getattr(signal, name) for name in names}
            for signal in self.pending(model)
        ]
        matching = [values for values in pending if _has(values, columns)]
        if len(matching) != n:
            listing = "".join(f"\n  {_told(each, columns)}" for each in pending)
            raise AssertionError(
                f"{len(matching)} signals of '{model.__name__}' have {columns}, "
                f"not {n}. Pending:{listing or ' nothing'}"
            )


def _key_of(model: type[Any]) -> list[Any]:
    mapper = sa.inspect(model)
    return [
        getattr(model, mapper.get_property_by_column(column).key)
        for column in mapper.primary_key
    ]


def _has(values: dict[str, Any], columns: dict[str, Any]) -> bool:
    return all(n in values and same(values[n], v) for n, v in columns.items())


def _told(values: dict[str, Any], columns: dict[str, Any]) -> str:
    """Show a signal, and in what it differs from what was looked for."""
    if _has(values, columns):
        return f"{values}"

    return f"{values} ({parts({n: values.get(n) for n in columns}, columns)})"
