"""What the checks are about: a model, its application, its table, its bus."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Mapper

from ..signalbus import SignalBus
from .failures import CannotCheck
from .outside import Capabilities, OutsideView

#: What a check may need beside the model and its table.
Need = Literal["broker", "second_connection", "row_locks"]

UNWRAP = (
    "Commits are what is being checked: take the fixture 'signalbus_app' of the plugin "
    "for this test, which undoes the wrapping, or do so yourself."
)


class Subject:
    """One signal model in one application.

    :param model: The signal model.
    :param app: The application; its extensions tell the database and the bus.
    :param has_broker: Whether there is a fake for what the send methods publish.
    """

    def __init__(self, model: type[Any], app: Flask, *, has_broker: bool) -> None:
        self.model = model
        self.app = app
        self.has_broker = has_broker

    @property
    def db(self) -> SQLAlchemy:
        """The Flask-SQLAlchemy extension of the application."""
        extension: SQLAlchemy = self._extension("sqlalchemy")
        return extension

    @property
    def bus(self) -> SignalBus:
        """The signal bus of the application."""
        extension: SignalBus = self._extension("signalbus")
        return extension

    @property
    def engines(self) -> list[Engine]:
        """The engines of the application."""
        with self.app.app_context():
            return list(dict.fromkeys(each.engine for each in self.db.engines.values()))

    @property
    def mapper(self) -> Mapper[Any]:
        """How the model is mapped."""
        mapper: Mapper[Any] = sa.inspect(self.model)
        return mapper

    @cached_property
    def table(self) -> OutsideView:
        """The model's table, as another connection sees it.

        :raises CannotCheck: If the application has no engine of its own.
        """
        with self.app.app_context():
            engine = self.db.session.get_bind(self.model)
        if not isinstance(engine, Engine):
            raise CannotCheck(
                f"The session is bound to a {type(engine).__name__}, not to an engine: "
                f"the suite wraps db.session in a transaction that is rolled back. "
                f"{UNWRAP}"
            )

        return OutsideView(self.model, engine)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the model's database can do."""
        return Capabilities.probe(self.table.engine)

    def has(self, need: Need) -> bool:
        """Tell whether something is there that a check needs."""
        if need == "broker":
            return self.has_broker

        has: bool = getattr(self.capabilities, need)
        return has

    def list_models(self) -> list[type[Any]]:
        """Ask the bus for the signal models that it knows."""
        return self.bus.get_signal_models()

    def _extension(self, name: str) -> Any:
        if name not in self.app.extensions:
            raise CannotCheck(
                f"The application has no extension '{name}'; call 'init_app' of a "
                f"database with 'SignalBusMixin' first."
            )

        return self.app.extensions[name]
