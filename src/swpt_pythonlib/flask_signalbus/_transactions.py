"""Run work in a transaction; after a serialization conflict, run it again."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flask import current_app
from sqlalchemy import inspect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import scoped_session

from ._retry import RetryPolicy
from ._sessions import Record, has_uncommitted_work, owned_transaction
from .exceptions import DBSerializationError

T = TypeVar("T")
A = TypeVar("A", bound="Attempt[Any]")

logger = logging.getLogger(__name__)


class Attempt(ABC, Generic[T]):
    """Work that is run once, and what became of it."""

    _result: T
    error: BaseException | None = None

    def run(self) -> None:
        """Do the work; keep its result, or the error."""
        try:
            self._result = self.work()
        except Exception as error:
            self.error = error

    def result(self) -> T:
        """Return what the work has returned, or raise what it has raised."""
        if self.error is None:
            return self._result

        try:
            raise self.error
        finally:
            # The error's traceback refers to this attempt.
            self.error = None

    @abstractmethod
    def work(self) -> T:
        """Do all of the work, or undo it and raise an error."""

    @property
    @abstractmethod
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry after the error; ``None`` if that is in vain."""


def retry(begin: Callable[[], A]) -> A:
    """Make attempts until one succeeds, or fails for good; return the last one.

    :param begin: Makes a new attempt.
    """
    started = time.monotonic()
    failures: Counter[RetryPolicy] = Counter()
    while True:
        attempt = begin()
        attempt.run()
        if attempt.error is None or (policy := attempt.retry_policy) is None:
            return attempt

        failures[policy] += 1
        elapsed = time.monotonic() - started
        pause = policy.pause_after(failures[policy], elapsed)
        if pause is None:
            return attempt

        logger.warning(
            "Retrying a transaction that lost a race (failure %d, next run in %.2f s).",
            failures[policy],
            pause,
            extra={
                "signalbus_failures": failures[policy],
                "signalbus_pause": pause,
            },
        )
        time.sleep(pause)


class Block(Attempt[T]):
    """One execution of an atomic block.

    :param function: Joins what is pending in the session.
    :param has_joined: Whether something is pending that another execution would not
        bring back.
    """

    def __init__(
        self,
        function: Callable[[], T],
        session: scoped_session[Any],
        *,
        policy: RetryPolicy,
        has_joined: bool,
    ) -> None:
        self._function = function
        self._session = session
        self._policy = policy
        self._has_joined = has_joined
        self._record = Record(detaches_objects=True)

    def work(self) -> T:
        """Execute the function in a transaction of its own, and commit."""
        with owned_transaction(self._session, self._record):
            result = self._function()
            self._session.flush()
            _load_expired(self._session)

        return result

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """The application's policy, if the block lost a race and is repeatable."""
        return self._policy if self._lost_race and self._is_repeatable else None

    def result(self) -> T:
        """Return what the function has returned, or raise what it has raised.

        :raises DBSerializationError: If the block should be retried, but something
            has become part of the transaction that would not be repeated with it.
        """
        if self._lost_race and not self._is_repeatable:
            raise DBSerializationError(
                "The atomic block lost a race, and cannot be retried: it had joined"
                " changes that were made before it, or had committed a part of its own."
                " What was not committed has been rolled back."
            ) from self.error

        return super().result()

    @property
    def _lost_race(self) -> bool:
        return self.error is not None and self._record.lost_race(self.error)

    @property
    def _is_repeatable(self) -> bool:
        return not (self._has_joined or self._record.may_be_partly_committed)


def run_block(
    function: Callable[[], T], session: scoped_session[Any], policy: RetryPolicy
) -> T:
    """Run a function in a transaction of the session; retry it if it lost a race.

    :raises DBSerializationError: See :meth:`Block.result`.
    """
    has_joined = has_uncommitted_work(session)
    if not has_joined and not session().expire_on_commit:
        # What an earlier transaction has read may be out of date; no isolation level
        # would notice.
        session.expire_all()

    def begin() -> Block[T]:
        return Block(function, session, policy=policy, has_joined=has_joined)

    return retry(begin).result()


def _load_expired(session: scoped_session[Any]) -> None:
    """Load what only the database knows, since detached objects cannot do it."""
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
