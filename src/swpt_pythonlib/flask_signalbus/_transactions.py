"""Run work in a transaction; after a serialization conflict, run it again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from flask import current_app
from sqlalchemy import ColumnElement, inspect, select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstanceState, Mapper, lazyload, load_only, scoped_session

from ._logs import logger
from ._retry import RetryPolicy
from ._sessions import Record, current, has_uncommitted_work, owned_transaction
from .exceptions import DBSerializationError

T = TypeVar("T")
A = TypeVar("A", bound="Attempt[Any]")

# A block whose rows collide is executed this often at most, with pauses of at most so
# many seconds.
_COLLISIONS = 10
_COLLISION_PAUSE = 0.1
# How many keys a statement may hold on every database.
_KEYS_PER_SELECT = 500


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
    failures: dict[RetryPolicy, int] = {}
    while True:
        attempt = begin()
        attempt.run()
        if attempt.error is None or (policy := attempt.retry_policy) is None:
            return attempt

        failures[policy] = failures.get(policy, 0) + 1
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
        # What an earlier transaction has left behind; the block need not touch it.
        self._bystanders = {
            id(instance): instance for instance in session if inspect(instance).expired
        }

    def work(self) -> T:
        """Execute the function in a transaction of its own, and commit."""
        with owned_transaction(self._session, self._record):
            result = self._function()
            self._session.flush()
            self._load_expired(result)

        return result

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if the block lost a race and is repeatable."""
        if not (self._lost_race and self._is_repeatable):
            return None
        if self._collision is None:
            return self._policy

        # A row that collides with what a fresh execution sees is no lost race.
        return replace(
            self._policy,
            attempts=min(self._policy.attempts, _COLLISIONS),
            longest_pause=min(self._policy.longest_pause, _COLLISION_PAUSE),
        )

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
        if self._collision is not None:
            raise self._collision from self._collision.orig

        return super().result()

    def _load_expired(self, result: object) -> None:
        """Load what only the database knows, since detached objects cannot do it.

        A statement per model and some hundreds of objects does it.
        """
        returned = {id(value) for value in _values_of(result)}
        wanted: dict[type[Any], list[InstanceState[Any]]] = {}
        for instance in self._session:
            state = inspect(instance)
            columns = state.expired_attributes.intersection(
                state.mapper.column_attrs.keys()
            )
            is_bystander = (
                self._bystanders.get(id(instance)) is instance and state.expired
            )
            if columns and (id(instance) in returned or not is_bystander):
                wanted.setdefault(type(instance), []).append(state)

        for model, states in wanted.items():
            for i in range(0, len(states), _KEYS_PER_SELECT):
                _load(self._session, model, states[i : i + _KEYS_PER_SELECT])

    @property
    def _lost_race(self) -> bool:
        return self.error is not None and self._record.lost_race(self.error)

    @property
    def _collision(self) -> DBAPIError | None:
        """The violated constraint, if the block should start over for that."""
        cause = getattr(self.error, "__cause__", None)
        return cause if cause is self._record.collision else None

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
    if not has_joined and not current(session).expire_on_commit:
        # What an earlier transaction has read may be out of date; no isolation level
        # would notice.
        session.expire_all()

    def begin() -> Block[T]:
        return Block(function, session, policy=policy, has_joined=has_joined)

    return retry(begin).result()


def _values_of(result: object) -> Iterable[object]:
    """Return what a block has returned, and what that contains."""
    if isinstance(result, Mapping):
        return [result, *result.values()]
    if isinstance(result, list | tuple | set | frozenset):
        return [result, *result]

    return [result]


def _load(
    session: scoped_session[Any], model: type[Any], states: Sequence[InstanceState[Any]]
) -> None:
    """Load the expired columns of instances; their rows may be gone."""
    mapper: Mapper[Any] = inspect(model)
    keys: list[Any] = [state.identity for state in states]
    columns: ColumnElement[Any] = tuple_(*mapper.primary_key)
    if len(mapper.primary_key) == 1:
        columns, keys = mapper.primary_key[0], [key for (key,) in keys]

    expired = set().union(*(state.expired_attributes for state in states))
    names = expired.intersection(mapper.column_attrs.keys())
    only_these = load_only(*(getattr(model, name) for name in sorted(names)))
    statement = select(model).where(columns.in_(keys))
    session.scalars(statement.options(only_these, lazyload("*"))).all()


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
