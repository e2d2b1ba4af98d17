"""Transactions that survive serialization conflicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Flask
from flask_sqlalchemy.model import Model
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError

from ._engines import check_plugins, with_plugin
from ._lazy import is_lazy
from ._mixins import SQLAlchemyMixin

# Documented under the name that it has here.
from ._model_utilities import _ModelUtilitiesMixin as _ModelUtilitiesMixin
from ._model_utilities import with_utilities
from ._retry import RetryPolicy
from ._sessions import owner_of
from ._transactions import configured_policy, run_block
from .exceptions import DBSerializationError

#: The public name, for annotations.
ModelUtilities = _ModelUtilitiesMixin

P = ParamSpec("P")
T = TypeVar("T")


if TYPE_CHECKING:

    class _AtomicModel(_ModelUtilitiesMixin, Model):
        """What type checkers see of ``db.Model``."""

        metadata: MetaData

        def __init__(self, **values: Any) -> None: ...


class _NotInAtomicBlockError(AssertionError, RuntimeError):
    """What needs an atomic block has been used outside of one."""


class AtomicProceduresMixin(SQLAlchemyMixin):
    """A mixin for ``SQLAlchemy``: procedures that survive lost races.

    It must come before ``SQLAlchemy``, and goes with
    :class:`~swpt_pythonlib.flask_signalbus.SignalBusMixin` in either order::

        from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin

        class CustomSQLAlchemy(AtomicProceduresMixin, SQLAlchemy):
            pass

        db = CustomSQLAlchemy()

        @db.atomic
        def deposit(account_id, amount):
            account = Account.get_instance(account_id)
            account.balance += amount

    Unless an isolation level is configured, engines get the weakest level at
    which such a read and write of one row loses no update: REPEATABLE READ on
    PostgreSQL, SERIALIZABLE on MySQL and MariaDB, and on SQLite transactions
    that begin before the first read.

    The models get the class methods of
    :class:`~swpt_pythonlib.flask_signalbus.atomic._ModelUtilitiesMixin`.

    :raises TypeError: If it comes behind ``SQLAlchemy``, or is used without.

    .. versionadded:: 1.0
    """

    #: How patiently a block that lost a race is repeated. The configuration key
    #: ``SIGNALBUS_RETRY_POLICY`` of an application takes precedence.
    retry_policy: RetryPolicy = RetryPolicy()

    if TYPE_CHECKING:
        # Flask-SQLAlchemy's own type of it is private.
        Model: type[_AtomicModel]  # type: ignore[assignment]

    def __init__(
        self,
        *args: Any,
        model_class: Any = Model,
        engine_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            model_class=with_utilities(model_class),
            engine_options=with_plugin(engine_options or {}),
            **kwargs,
        )
        base: Any = self.Model
        base._signalbus_db = self

    def atomic(self, func: Callable[P, T]) -> Callable[P, T]:
        """Wrap a function in a transaction that is repeated if it loses a race.

        When the function returns, everything that is pending in ``db.session``
        is committed, and the objects in it are detached from it, with their
        values loaded. When the function raises, everything is rolled back. When
        the database reports a serialization conflict, at a statement or at
        the commit, everything is rolled back, and the function is executed
        again; also if it has caught the error. It must therefore do nothing
        that can not be rolled back, such as sending a message.

        Called inside an atomic block, the function merely becomes a part of it.

        :param func: May be decorated before there is an application.
        :raises TypeError: If it is a generator function or a coroutine function.
        :raises DBSerializationError: If the function should be executed again,
            but ``db.session`` had uncommitted changes before it. They have been
            rolled back too.
        :raises sqlalchemy.exc.DBAPIError: The last conflict, when the attempts
            of the :attr:`retry_policy` run out.
        """
        if is_lazy(func):
            raise TypeError(
                f"'{func.__qualname__}' can not be atomic: it is a generator or a"
                f" coroutine, whose body would run when the block has ended."
            )

        @wraps(func)
        def atomic_func(*args: P.args, **kwargs: P.kwargs) -> T:
            session = self.session
            if owner_of(session) is not None:
                return func(*args, **kwargs)

            policy = configured_policy(self.retry_policy)
            return run_block(partial(func, *args, **kwargs), session, policy)

        return atomic_func

    def execute_atomic(
        self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Execute a function as :meth:`atomic` would, and return its result.

        It also serves as a decorator of a block that is executed on the spot,
        and whose name then is its result::

            @db.execute_atomic
            def account_id():
                account = Account()
                db.session.add(account)
                db.session.flush()
                return account.id
        """
        return self.atomic(func)(*args, **kwargs)

    @contextmanager
    def retry_on_integrity_error(self) -> Iterator[None]:
        """Have the atomic block repeated if rows collide with another's.

        The session is flushed before and after the ``with`` block. A duplicate
        key, a violated foreign key or exclusion constraint in between makes the
        atomic block start over: the other transaction's row will be seen then.
        What no repetition can cure, as a missing value, is raised as it is. So
        is what a deferred constraint finds at the commit.

        ::

            @db.atomic
            def get_or_create(name):
                instance = Tag.query.filter_by(name=name).one_or_none()
                if instance is None:
                    with db.retry_on_integrity_error():
                        instance = Tag(name=name)
                        db.session.add(instance)
                return instance

        :raises RuntimeError: If used outside an atomic block. (The error is an
            :exc:`AssertionError` as well.)
        :raises DBSerializationError: If the atomic block has to start over. It
            must not be caught.
        """
        session = self.session
        owner = owner_of(session)
        if owner is None:
            raise _NotInAtomicBlockError(
                "'retry_on_integrity_error' must be used inside an atomic block;"
                " decorate the function with 'atomic'."
            )

        session.flush()
        try:
            yield
            session.flush()
        except DBAPIError as error:
            if error is not owner.collision:
                raise

            raise DBSerializationError(
                "A row collided with that of another transaction."
            ) from error

    def init_app(self, app: Flask) -> None:
        """Initialize an application for use with this database.

        :raises ValueError: If the application configures ``plugins`` of an engine
            and leaves ours out.
        """
        check_plugins(app.config)
        super().init_app(app)
