"""Names that code in the wild imports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.orm import Session, scoped_session

from ._dialects import codes_of, is_conflict, traits_of
from ._retry import RetryPolicy
from ._sessions import owner_of
from ._transactions import retry
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
    """Return a decorator that repeats a function that lost a race.

    The session is rolled back before each repetition. The function itself must
    begin and commit its transaction; :meth:`.AtomicProceduresMixin.atomic` does
    both, and is the better choice.

    :param session: The session that the function uses.
    :param retries: How often the function is repeated, at the most.
    :param min_wait: The longest that the first pause can be, in seconds.
    :param max_wait: The longest that any pause can be, in seconds.

    .. versionadded:: 1.0
    """
    policy = RetryPolicy(
        attempts=retries + 1, first_pause=min_wait, longest_pause=max_wait
    )

    def is_retryable(error: Exception) -> bool:
        # An atomic block, or a burst, is repeated as a whole.
        if owner_of(session) is not None:
            return False

        dialect = session.get_bind().dialect
        if not (
            isinstance(error, DBSerializationError)
            or is_conflict(error, traits_of(dialect))
        ):
            return False

        session.rollback()
        return True

    def decorator(func: Callable[P, T]) -> Callable[P, T]:
        @wraps(func)
        def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
            return retry(
                partial(func, *args, **kwargs), is_retryable=is_retryable, policy=policy
            )

        return repeated

    return decorator
