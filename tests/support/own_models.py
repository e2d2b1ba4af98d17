"""How a test makes a model of a database that it has made itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from flask_sqlalchemy import SQLAlchemy

T = TypeVar("T", bound="OwnModel")

_OF_EACH_CLASS = ("__dict__", "__weakref__")


class OwnModel:
    """Stands for the 'Model' of a database, which a class statement cannot name.

    Only 'model_of' makes a model of the classes that inherit from it.
    """

    if TYPE_CHECKING:
        query: ClassVar[Any]
        get_instance: ClassVar[Any]
        lock_instance: ClassVar[Any]

        def __init__(self, **values: Any) -> None: ...


def model_of(database: SQLAlchemy) -> Callable[[type[T]], type[T]]:
    """Return what makes a class a model, with 'database.Model' for 'OwnModel'."""

    def make_model(cls: type[T]) -> type[T]:
        bases = (database.Model if b is OwnModel else b for b in cls.__bases__)
        body = {k: v for k, v in vars(cls).items() if k not in _OF_EACH_CLASS}
        return cast("type[T]", type(cls.__name__, tuple(bases), body))

    return make_model
