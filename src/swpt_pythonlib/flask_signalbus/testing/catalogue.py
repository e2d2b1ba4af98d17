"""Which checks there are, and for which models."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from flask_sqlalchemy import SQLAlchemy

from .._models import full_name, has_bulk_sender, signal_models_of
from . import (
    checks_advice,
    checks_bus,
    checks_concurrency,
    checks_database,
    checks_failures,
    checks_flush,
    checks_refusals,
    checks_senders,
    checks_static,
)
from .definition import Check, version_of


def all_checks(checks: str | None = None, *, advice: bool = True) -> dict[str, Check]:
    """Return the checks by their names, the static ones first.

    :param checks: A release, like ``"1.0"``: only checks that it had.
    :param advice: Whether to include the checks that are mere advice.
    :raises ValueError: If there was no check in that release.

    .. versionadded:: 1.0
    """
    found = {
        check.name: check
        for check in _CHECKS
        if (checks is None or version_of(check.since) <= version_of(checks))
        and (advice or not check.is_advice)
    }
    if not found:
        raise ValueError(f"There were no checks in the release '{checks}'.")

    return found


def concerns(check: Check, model: type[Any]) -> bool:
    """Tell whether a check makes sense for a model."""
    return not check.of_bulk_sender or has_bulk_sender(model)


def signal_models(db: SQLAlchemy) -> list[type[Any]]:
    """Return the signal models of a database, sorted by module and name.

    Unlike ``get_signal_models()`` of the bus it needs no application. Models are
    known as soon as their module has been imported.

    .. versionadded:: 1.0
    """
    return sorted(signal_models_of(db), key=full_name)


def _checks_in(module: ModuleType) -> Iterator[Check]:
    """Yield the checks that a module defines, from top to bottom."""
    return (
        value
        for value in vars(module).values()
        if isinstance(value, Check) and value.run.__module__ == module.__name__
    )


_CHECKS = (
    *checks_static.CHECKS,
    *checks_database.CHECKS,
    *_checks_in(checks_bus),
    *_checks_in(checks_failures),
    *_checks_in(checks_concurrency),
    *_checks_in(checks_senders),
    *_checks_in(checks_refusals),
    *_checks_in(checks_flush),
    *_checks_in(checks_advice),
)
