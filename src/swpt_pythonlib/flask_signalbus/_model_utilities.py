"""Class methods that look up and lock the instances of a model."""

from __future__ import annotations

import operator
import types
from typing import Any, ClassVar, Self

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import inspect, select
from sqlalchemy.orm import (
    DeclarativeBase,
    DeclarativeBaseNoMeta,
    DeclarativeMeta,
    InstanceState,
    Mapper,
)
from sqlalchemy.orm.interfaces import ORMOption

from ._dialects import traits_of


class _ModelUtilitiesMixin:
    """Class methods that every model has with ``AtomicProceduresMixin``.

    .. versionadded:: 1.0
    """

    _signalbus_db: ClassVar[SQLAlchemy]

    @classmethod
    def get_pk_values(cls, instance_or_pk: Any) -> tuple[Any, ...]:
        """Return the values of a primary key.

        The session is flushed first if an instance is given, since new ones may
        get their key from the database.

        :param instance_or_pk: An instance of the model, a tuple with a value for
            each column of the primary key, or the only value.
        :raises ValueError: If the number of values is not that of the columns,
            or an instance has no key.
        :raises TypeError: If an instance of another model is given.
        """
        mapper: Mapper[Any] = inspect(cls)
        if isinstance(instance_or_pk, cls):
            cls._signalbus_db.session.flush()
            identity = inspect(instance_or_pk).identity
            values = identity or tuple(mapper.primary_key_from_instance(instance_or_pk))
        else:
            is_tuple = isinstance(instance_or_pk, tuple)
            values = instance_or_pk if is_tuple else (instance_or_pk,)

        _check_key(mapper, values)
        return values

    @classmethod
    def get_instance(cls, instance_or_pk: Any, *options: ORMOption) -> Self | None:
        """Return the instance in ``db.session``, or ``None`` if there is no such row.

        An instance that is in the session already is returned as it is. Another
        one is looked up by its primary key.

        :param instance_or_pk: As in :meth:`get_pk_values`, which may raise.
        :param options: Loader options, for an instance that has to be loaded.
        """
        session = cls._signalbus_db.session
        if isinstance(instance_or_pk, cls) and instance_or_pk in session:
            return instance_or_pk

        key = cls.get_pk_values(instance_or_pk)
        instance: Self | None = session.get(cls, key, options=options)
        return instance

    @classmethod
    def lock_instance(
        cls, instance_or_pk: Any, *options: ORMOption, **kw: Any
    ) -> Self | None:
        """Return the instance, with its row locked and its current values loaded.

        The session is flushed first. Without row locks, as on SQLite, the values
        are loaded nevertheless.

        :param instance_or_pk: As in :meth:`get_pk_values`, which may raise.
        :param options: Loader options.
        :param kw: Arguments of SQLAlchemy's ``with_for_update``: ``read``,
            ``nowait``, ``of``, ``skip_locked``, ``key_share``. Unless ``of`` is
            given, only the row of the instance is locked, and not those of
            relationships that are joined to it, where the database can tell them
            apart (MariaDB cannot).
        """
        session = cls._signalbus_db.session
        key = cls.get_pk_values(instance_or_pk)
        mapper: Mapper[Any] = inspect(cls)
        bind = session.get_bind(mapper)
        if not kw.get("read") or traits_of(bind.dialect).shares_locks_of:
            kw.setdefault("of", mapper.tables)
        statement = (
            select(cls)
            .where(*map(operator.eq, mapper.primary_key, key))
            .options(*options)
            .with_for_update(**kw)
            .execution_options(populate_existing=True)
        )
        # What is loaded would replace what is pending.
        session.flush()
        instance: Self | None = session.scalars(statement).unique().one_or_none()
        return instance


def _check_key(mapper: Mapper[Any], values: tuple[Any, ...]) -> None:
    name = mapper.class_.__name__
    columns = ", ".join(column.name for column in mapper.primary_key)
    if len(values) != len(mapper.primary_key):
        raise ValueError(
            f"The primary key of '{name}' has {len(mapper.primary_key)} column(s)"
            f" ({columns}), but {len(values)} value(s) are given: {values!r}."
        )

    for value in values:
        if value is None:
            raise ValueError(
                f"The primary key of '{name}' ({columns}) must not be None; add a new"
                f" instance to the session first."
            )
        if isinstance(inspect(value, raiseerr=False), InstanceState):
            raise TypeError(
                f"An instance of '{name}' or its primary key is expected, got an"
                f" instance of '{type(value).__name__}'."
            )


def with_utilities(model_class: Any) -> Any:
    """Return the same base class of models, with our class methods."""
    if isinstance(model_class, DeclarativeMeta):
        namespace = {
            "__abstract__": True,
            "__module__": model_class.__module__,
            "metadata": model_class.metadata,
        }
        return type(model_class)(
            "Model", (_ModelUtilitiesMixin, model_class), namespace
        )

    if issubclass(model_class, (DeclarativeBase, DeclarativeBaseNoMeta)):
        # Flask-SQLAlchemy makes its own class of the bases and the body of this
        # one, and there may be only one class that is a declarative base.
        return types.new_class(
            model_class.__name__,
            (_ModelUtilitiesMixin, *model_class.__bases__),
            exec_body=lambda body: body.update(_body(model_class)),
        )

    return type(model_class)("Model", (_ModelUtilitiesMixin, model_class), {})


def _body(model_class: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(model_class).items()
        if name not in {"__dict__", "__weakref__"}
    }
