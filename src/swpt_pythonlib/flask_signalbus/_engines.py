"""How engines are created that lose no updates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, CreateEnginePlugin, Engine, event

from ._dialects import traits_of
from ._drivers import in_transaction, leave_transactions_to_us
from ._reads import only_reads

# The name under which the entry point of this distribution registers the plugin.
PLUGIN = "swpt_flask_signalbus"

_WROTE_NOTHING = "signalbus_wrote_nothing"

_BEGIN = re.compile(r"\s*BEGIN\b", re.IGNORECASE)
# A migration turns foreign keys off, which SQLite ignores within a transaction.
_OUTSIDE = re.compile(
    r"\s*(BEGIN\b|PRAGMA\s+(\w+\s*\.\s*)?(foreign_keys|journal_mode|synchronous)\s*[=(])",
    re.IGNORECASE,
)
_LEVEL = re.compile("transaction[ _]isolation", re.IGNORECASE)


class RaceSafety(CreateEnginePlugin):
    """Gives an engine the isolation that its database needs, if none is configured.

    SQLAlchemy instantiates it for every engine that asks for it by name.
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        self._traits = traits_of(url.get_dialect())
        self._begins = False
        if self._traits.begin is None:
            self._set_default_level(url, kwargs)
        else:
            self._begins = self._needs_begin(url, kwargs)

    def _set_default_level(self, url: URL, kwargs: dict[str, Any]) -> None:
        level = self._traits.atomic_isolation_level
        has_level = "isolation_level" in kwargs.get("execution_options", {})
        settings = {**url.query, **kwargs.get("connect_args", {})}
        # As an option of the server, or in a statement that the driver sends first.
        has_level = has_level or _LEVEL.search(str(settings)) is not None
        if level is not None and not has_level:
            kwargs.setdefault("isolation_level", level)

    def _needs_begin(self, url: URL, kwargs: dict[str, Any]) -> bool:
        settings = {
            **url.query,
            **kwargs.get("connect_args", {}),
            **kwargs.get("execution_options", {}),
        }
        if {"isolation_level", "autocommit"}.intersection(settings):
            return False
        if kwargs.get("isolation_level") not in (None, "SERIALIZABLE"):
            return False

        # Real transactions are serializable here. SQLAlchemy would have the driver
        # begin them again, if it were told.
        kwargs.pop("isolation_level", None)
        return True

    def update_url(self, url: URL) -> URL:
        """Return the URL, which has nothing for us in it."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Begin transactions in place of the driver, which begins too late."""
        if self._begins:
            event.listen(engine, "connect", leave_transactions_to_us)
            event.listen(engine, "begin", self._begin)
            event.listen(engine, "before_cursor_execute", _give_way)
            event.listen(engine, "after_cursor_execute", self._begin_again)

    def _begin(self, connection: Connection) -> None:
        # An application may have a listener of its own that begins.
        if not in_transaction(connection):
            assert self._traits.begin is not None
            connection.exec_driver_sql(self._traits.begin)
            connection.info[_WROTE_NOTHING] = True

    def _begin_again(
        self, connection: Connection, cursor: object, statement: str, *_: object
    ) -> None:
        if connection.info.get(_WROTE_NOTHING) and not in_transaction(connection):
            self._begin(connection)


def _give_way(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
    """End a transaction of ours, in which a statement would fail or do nothing.

    It may be ended as long as it has written nothing.
    """
    if not connection.info.get(_WROTE_NOTHING):
        return
    if _OUTSIDE.match(statement) and in_transaction(connection):
        cursor.execute("COMMIT")
        # Whoever begins a transaction also ends it.
        connection.info[_WROTE_NOTHING] = not _BEGIN.match(statement)
    elif not only_reads(statement):
        connection.info[_WROTE_NOTHING] = False


def with_plugin(engine_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an engine, extended by our plugin."""
    plugins = [*engine_options.get("plugins", ()), PLUGIN]
    return {**engine_options, "plugins": plugins}


def check_plugins(config: Mapping[str, Any]) -> None:
    """Check that no configuration key takes our plugin away again.

    :raises ValueError: If one does.
    """
    engines = {"SQLALCHEMY_ENGINE_OPTIONS": config.get("SQLALCHEMY_ENGINE_OPTIONS", {})}
    for key, options in config.get("SQLALCHEMY_BINDS", {}).items():
        engines[f"SQLALCHEMY_BINDS[{key!r}]"] = options

    for name, options in engines.items():
        if isinstance(options, Mapping) and PLUGIN not in options.get(
            "plugins", [PLUGIN]
        ):
            raise ValueError(
                f"The 'plugins' in '{name}' must include '{PLUGIN}', which keeps"
                f" updates from being lost."
            )
