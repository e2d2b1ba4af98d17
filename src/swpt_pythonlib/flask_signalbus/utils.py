"""Names kept for code written for flask-signalbus 0.5."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.orm import Session, scoped_session

from ._dialects import traits_of
from ._errors import codes_of, is_conflict
from ._retry import RetryPolicy
from ._sessions import owner_of
from ._transactions import Attempt, retry
from .exceptions import DBSerializationError

__all__ = ["DBSerializationError", "get_db_error_code", "retry_on_deadlock"]

P = ParamSpec("P")
T = TypeVar("T")


def get_db_error_code(exception: BaseException) -> str:
    """Return what identifies a database error: its SQLSTATE, or the server's number.

    :param exception: An error of a driver, or one of SQLAlchemy that wraps it.
    :return: An empty string, if the error has no code.

    .. versionadded:: 1.0
    """
    code = next(codes_of(getattr(exception, "orig", exception)), "")
    return str(code)


def retry_on_deadlock(
    session: Session | scoped_session[Any],
    retries: int = 8,
    min_wait: float = 0.1,
    max_wait: float = 10.0,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that retries a function that lost a race.

    The session is rolled back before each new attempt. The function itself must
    begin and commit its transaction; :meth:`.AtomicProceduresMixin.atomic` does
    both, and is the better choice.

    :param session: The session that the function uses.
    :param retries: How often the function is retried at most.
    :param min_wait: The longest that the first pause can be, in seconds.
    :param max_wait: The longest that any pause can be, in seconds.

    .. versionadded:: 1.0
    """
    policy = RetryPolicy(
        attempts=retries + 1, first_pause=min_wait, longest_pause=max_wait
    )

    def decorator(func: Callable[P, T]) -> Callable[P, T]:
        @wraps(func)
        def retried(*args: P.args, **kwargs: P.kwargs) -> T:
            function = partial(func, *args, **kwargs)
            return retry(lambda: _Execution(function, session, policy)).result()

        return retried

    return decorator


class _Execution(Attempt[T]):
    """One execution of a function that begins and commits its own transaction."""

    def __init__(
        self,
        function: Callable[[], T],
        session: Session | scoped_session[Any],
        policy: RetryPolicy,
    ) -> None:
        self._function = function
        self._session = session
        self._policy = policy
        self._lost_race = False

    def work(self) -> T:
        """Execute the function; roll back if it lost a race."""
        try:
            return self._function()
        except Exception as error:
            # An atomic block, or a burst, is retried as a whole.
            if owner_of(self._session) is None and self._is_lost_race(error):
                self._lost_race = True
                self._session.rollback()
            raise

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """The policy, if the function lost a race."""
        return self._policy if self._lost_race else None

    def _is_lost_race(self, error: Exception) -> bool:
        traits = traits_of(self._session.get_bind().dialect)
        return isinstance(error, DBSerializationError) or is_conflict(error, traits)
