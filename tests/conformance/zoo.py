"""Healthy signal models of all kinds: nothing about them may raise an alarm."""

import enum
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import (
    DeclarativeBase,
    DeclarativeBaseNoMeta,
    Mapped,
    MappedAsDataclass,
    mapped_column,
)

from conformance.applications import LEFT_OUT, signal_model
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin


class Database(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"
    BLUE = "b"


@dataclass(frozen=True)
class Base:
    """A declarative base, made anew for each database.

    :param of: What the application's own base inherits from, if it has one.
    :param mixin: What each model inherits from besides.
    """

    of: tuple[type[Any], ...] = ()
    mixin: tuple[type[Any], ...] = ()

    def database(self) -> SQLAlchemy:
        if not self.of:
            return Database()
        return Database(model_class=type("Base", self.of, {}))


#: Everything that Flask-SQLAlchemy accepts as a declarative base.
BASES = {
    "Model": Base(),
    "DeclarativeBase": Base(of=(DeclarativeBase,)),
    "dataclass": Base(of=(DeclarativeBase,), mixin=(MappedAsDataclass,)),
    "without meta": Base(of=(DeclarativeBaseNoMeta,)),
    "dataclass without meta": Base(
        of=(DeclarativeBaseNoMeta,), mixin=(MappedAsDataclass,)
    ),
}
if sa.__version__.startswith("2.0."):
    # With later versions, Flask-SQLAlchemy 3.1 fails to make a base of it.
    BASES["dataclass base"] = Base(of=(MappedAsDataclass, DeclarativeBase))

_BINARY = sa.LargeBinary().with_variant(mysql.VARBINARY(16), "mysql", "mariadb")
_MOMENT = sa.DateTime(timezone=True)


def _key(column_type: Any, *args: Any, **options: Any) -> Any:
    return mapped_column(*args, column_type, primary_key=True, **options)


#: The columns of the primary key, and whatever else makes a table special.
KEYS: dict[str, Callable[[], dict[str, Any]]] = {
    "integer": lambda: {"id": _key(sa.Integer)},
    "big integer": lambda: {"id": _key(sa.BigInteger, autoincrement=False)},
    "text": lambda: {"id": _key(sa.String(40))},
    "uuid": lambda: {"id": _key(sa.Uuid)},
    "decimal": lambda: {"id": _key(sa.Numeric(12, 2))},
    "date": lambda: {"id": _key(sa.Date)},
    "moment": lambda: {"id": _key(_MOMENT)},
    "binary": lambda: {"id": _key(_BINARY)},
    "composite": lambda: {
        "id": LEFT_OUT,
        "debtor": _key(sa.BigInteger, autoincrement=False),
        "creditor": _key(sa.String(20)),
        "moment": _key(sa.DateTime),
    },
    "enum": lambda: {
        "id": _key(sa.Enum(Color, name="color")),
        "number": _key(sa.Integer, autoincrement=False),
    },
    "renamed": lambda: {
        "id": LEFT_OUT,
        "identity": _key(sa.Integer, "the id"),
        "__tablename__": 'select "from"',
    },
}

#: Columns that a signal may have besides.
PAYLOAD: dict[str, Any] = {
    "amount": sa.Numeric(10, 2),
    "rate": sa.Double(),
    "is_final": sa.Boolean(),
    "details": sa.JSON(),
    "day": sa.Date(),
    "noon": sa.Time(),
    "lasts": sa.Interval(),
    "blob": sa.LargeBinary(),
    "color": sa.Enum(Color, name="color"),
    "pickled": sa.PickleType(),
}


@dataclass(frozen=True)
class Animal:
    """A healthy model, by what it is made of."""

    base: str
    key: str
    has_bulk_sender: bool
    burst: int

    def __str__(self) -> str:
        bulk = "bulk" if self.has_bulk_sender else "single"
        return f"{self.base}, {self.key}, {bulk}, {self.burst}"

    def database(self) -> SQLAlchemy:
        return BASES[self.base].database()

    def model(self, db: SQLAlchemy) -> type[Any]:
        columns = KEYS[self.key]() | {
            "text": mapped_column(sa.String(50)),
            **{name: mapped_column(of_type) for name, of_type in PAYLOAD.items()},
        }
        attributes: dict[str, Any] = (
            {"id": LEFT_OUT}
            | columns
            | {
                "__annotations__": {
                    name: Mapped[Any]
                    for name, value in columns.items()
                    if not isinstance(value, str) and value is not LEFT_OUT
                },
                "signalbus_burst_count": self.burst,
            }
        )
        if not self.has_bulk_sender:
            attributes["send_signalbus_messages"] = LEFT_OUT
        mixin = BASES[self.base].mixin
        return signal_model(db, *mixin, **attributes)


def animals() -> Iterator[Animal]:
    """Yield models with each key, each base, and each way to be sent."""
    bases = itertools.cycle(BASES)
    habits = itertools.cycle(itertools.product((True, False), (1, 3, 100)))
    for key in [*KEYS, "integer"]:
        has_bulk_sender, burst = next(habits)
        yield Animal(next(bases), key, has_bulk_sender, burst)


def siblings(db: SQLAlchemy) -> list[type[Any]]:
    """Return two models that share a table, each with rows of its own kind."""
    animal = type(
        "Animal",
        (db.Model,),
        {
            "__module__": __name__,
            "id": mapped_column(sa.Integer, primary_key=True),
            "kind": mapped_column(sa.String(10), nullable=False),
            "text": mapped_column(sa.String(50)),
            "__mapper_args__": {"polymorphic_on": "kind"},
        },
    )
    return [
        signal_model(
            db,
            animal,
            name=name,
            id=LEFT_OUT,
            text=LEFT_OUT,
            __tablename__=LEFT_OUT,
            __mapper_args__={"polymorphic_identity": name},
        )
        for name in ("Cat", "Dog")
    ]


def elsewhere(db: SQLAlchemy) -> type[Any]:
    """Return a model in another database."""
    return signal_model(db, __bind_key__="elsewhere")
