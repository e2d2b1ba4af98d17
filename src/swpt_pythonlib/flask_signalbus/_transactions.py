"""Run work in a transaction; on a conflict roll back, pause, and run it again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from flask import current_app
from sqlalchemy import inspect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import scoped_session

from ._retry import RetryPolicy
from ._sessions import Owner, has_uncommitted_work, owned_transaction
from .exceptions import DBSerializationError

T = TypeVar("T")

logger = logging.getLogger(__name__)


def retry(
    attempt: Callable[[], T],
    *,
    is_retryable: Callable[[Exception], bool],
    policy: RetryPolicy,
) -> T:
    """Make attempts until one succeeds, or fails for good.

    :param attempt: Does all of the work, and undoes it when it fails.
    :param is_retryable: Whether another attempt can cure an error.
    :param policy: How many attempts are made, and how far apart.
    """
    failures, started = 0, time.monotonic()
    while True:
        try:
            return attempt()
        except Exception as error:
            failures += 1
            elapsed = time.monotonic() - started
            curable = is_retryable(error)
            pause = policy.pause_after(failures, elapsed) if curable else None
            if pause is None:
                raise

        logger.warning(
            "Retrying a transaction that lost a race (failure %d, next run in %.2f s).",
            failures,
            pause,
            extra={"signalbus_failures": failures, "signalbus_pause": pause},
        )
        time.sleep(pause)


def run_block(
    work: Callable[[], T], session: scoped_session[Any], policy: RetryPolicy
) -> T:
    """Run work in a transaction of the session, and again if it lost a race.

    :param work: Joins what is pending in the session.
    :raises DBSerializationError: If the work should be repeated, but something
        has become part of the transaction that would not be repeated with it.
    """
    has_joined = has_uncommitted_work(session)
    if not has_joined and not session().expire_on_commit:
        # What an earlier transaction has read may be out of date; no isolation level
        # would notice.
        session.expire_all()
    owner = Owner()

    def attempt() -> T:
        nonlocal owner
        owner = Owner(detaches_objects=True)
        with owned_transaction(session, owner):
            result = work()
            session.flush()
            _load_expired(session)

        return result

    def is_retryable(error: Exception) -> bool:
        if not owner.lost_race(error):
            return False
        if has_joined or owner.was_committed:
            raise DBSerializationError(
                "The atomic block lost a race, and can not be repeated: it had joined"
                " changes that were made before it, or had committed a part of its own."
                " What was not committed has been rolled back."
            ) from error

        return True

    return retry(attempt, is_retryable=is_retryable, policy=policy)


def _load_expired(session: scoped_session[Any]) -> None:
    """Load what only the database knows, since detached objects can not do it."""
    for instance in session:
        state = inspect(instance)
        columns = state.expired_attributes & set(state.mapper.column_attrs.keys())
        if columns:
            # The row may be gone; its object is nobody's result then.
            with suppress(InvalidRequestError):
                session.refresh(instance, columns)


def configured_policy(default: RetryPolicy) -> RetryPolicy:
    """Return the application's retry policy, if it has configured one.

    :raises TypeError: If the application has configured something else.
    """
    policy = current_app.config.get("SIGNALBUS_RETRY_POLICY", default)
    if not isinstance(policy, RetryPolicy):
        raise TypeError(
            f"The configuration key 'SIGNALBUS_RETRY_POLICY' must be a 'RetryPolicy',"
            f" got {policy!r}."
        )

    return policy
