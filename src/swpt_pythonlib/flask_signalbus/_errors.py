"""What an error means: one of a driver by its codes, others by their types."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import DBAPIError

from ._dialects import Traits


def is_conflict(error: BaseException, traits: Traits) -> bool:
    """Tell whether the database reported a serialization conflict."""
    if not isinstance(error, DBAPIError):
        return False

    was_impatient = "NOWAIT" in (error.statement or "")
    refusals = traits.nowait_refusals if was_impatient else frozenset()
    return has_code(error.orig, traits.conflicts - refusals) or any(
        has_code(error.orig, frozenset({code})) and words in str(error.orig)
        for code, words in traits.worded_conflicts
    )


def is_collision(error: BaseException, traits: Traits) -> bool:
    """Tell whether a constraint collided with another transaction's rows."""
    return isinstance(error, DBAPIError) and has_code(error.orig, traits.collisions)


def is_server_fault(error: BaseException, traits: Traits) -> bool:
    """Tell whether the server, its rights or the connection are to blame."""
    if not isinstance(error, DBAPIError):
        return False

    return error.connection_invalidated or any(
        _is_within(code, fault)
        for code in codes_of(error.orig)
        for fault in traits.server_faults
    )


def _is_within(code: str | int, fault: str | int) -> bool:
    if isinstance(code, str) and isinstance(fault, str):
        return code.startswith(fault)

    # An extended result code of SQLite keeps its primary code in the low byte.
    return code == fault or (isinstance(code, int) and code & 0xFF == fault)


def has_code(driver_error: BaseException | None, codes: frozenset[str | int]) -> bool:
    """Tell whether one of an error's codes is among the given ones."""
    return any(code in codes for code in codes_of(driver_error))


def codes_of(driver_error: BaseException | None) -> Iterator[str | int]:
    """Yield what a driver's error says of its cause, the most exact code first."""
    candidates: tuple[Any, ...] = (
        getattr(driver_error, "pgcode", None),  # psycopg2
        getattr(driver_error, "sqlite_errorcode", None),
        getattr(driver_error, "errno", None),  # mysql-connector, mariadb
        *_first_argument(driver_error),
        getattr(driver_error, "sqlstate", None),  # psycopg, some MySQL drivers
    )
    return (code for code in candidates if type(code) in (str, int))


def _first_argument(driver_error: BaseException | None) -> tuple[Any, ...]:
    first = next(iter(getattr(driver_error, "args", ())), None)
    if isinstance(first, dict):  # pg8000
        return (first.get("C"),)

    # A text is a message, not a code.
    return (first,) if isinstance(first, int) else ()


def ends_the_call(error: BaseException) -> bool:
    """Tell whether somebody wants the flush to end, and not just a client to stop."""
    greenlet = sys.modules.get("greenlet")
    exits: tuple[type[BaseException], ...] = (
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
    )
    return isinstance(error, exits) or (
        greenlet is not None and isinstance(error, greenlet.GreenletExit)
    )
