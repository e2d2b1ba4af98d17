"""How a mixin of ``SQLAlchemy`` must be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy.orm import scoped_session

from ._ringing import Ringer
from ._sessions import watch

if TYPE_CHECKING:
    # What a mixin is in every class that can be used.
    _Base = SQLAlchemy
else:
    _Base = object


class SQLAlchemyMixin(_Base):
    """A class that is mixed into ``SQLAlchemy``, and comes before it."""

    @property
    def session(self) -> scoped_session[Session]:
        """The session of the current application context.

        It may be replaced by another one, as test fixtures do.
        """
        session: scoped_session[Session] = self.__dict__["session"]
        return session

    @session.setter
    def session(self, session: scoped_session[Session]) -> None:
        watch(session)
        Ringer().attach(session)
        self.__dict__["session"] = session

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        behind = bases[bases.index(SQLAlchemy) :] if SQLAlchemy in bases else ()
        for base in behind:
            if issubclass(base, SQLAlchemyMixin):
                raise TypeError(
                    f"The class '{cls.__name__}' must list '{base.__name__}' before"
                    f" 'SQLAlchemy' among its bases."
                )

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if not issubclass(cls, SQLAlchemy):
            raise TypeError(
                f"The class '{cls.__name__}' must have 'SQLAlchemy' among its bases,"
                f" behind the mixins."
            )

        return super().__new__(cls)
