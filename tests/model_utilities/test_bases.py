"""Models of every declarative base have the utilities, and stay what they are."""

from collections.abc import Callable
from typing import Any

import flask_sqlalchemy.model as fsa
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from support.extensions import AtomicSQLAlchemy, BothMixins, MixinsReversed
from support.own_models import OwnModel, model_of
from swpt_pythonlib.flask_signalbus.atomic import _ModelUtilitiesMixin


def its_own_model() -> Any:
    return fsa.Model


def own_model() -> Any:
    class OwnModel(fsa.Model):
        def greet(self) -> str:
            return "hello"

    return OwnModel


def plain_class() -> Any:
    class Plain:
        pass

    return Plain


def declarative() -> Any:
    class Base(orm.DeclarativeBase):
        pass

    return Base


def declarative_without_meta() -> Any:
    class Base(orm.DeclarativeBaseNoMeta):
        pass

    return Base


def declarative_after_a_mixin() -> Any:
    class Mixin:
        def greet(self) -> str:
            return "hello"

    class Base(Mixin, orm.DeclarativeBase):
        metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})

    return Base


def abstract_child_of_a_base() -> Any:
    class Base(orm.DeclarativeBase):
        pass

    class Child(Base):
        __abstract__ = True

    return Child


def base_with_a_registry() -> Any:
    class Base(orm.DeclarativeBase):
        registry = orm.registry(type_annotation_map={str: sa.String(77)})

    return Base


def base_with_an_annotation_map() -> Any:
    class Base(orm.DeclarativeBase):
        type_annotation_map = {str: sa.String(77)}

    return Base


def dataclass_first() -> Any:
    class Base(orm.MappedAsDataclass, orm.DeclarativeBase, kw_only=True):
        pass

    return Base


def dataclass_last() -> Any:
    class Base(orm.DeclarativeBase, orm.MappedAsDataclass, kw_only=True):
        pass

    return Base


def dataclass_first_without_meta() -> Any:
    class Base(orm.MappedAsDataclass, orm.DeclarativeBaseNoMeta, kw_only=True):
        pass

    return Base


def dataclass_last_without_meta() -> Any:
    class Base(orm.DeclarativeBaseNoMeta, orm.MappedAsDataclass, kw_only=True):
        pass

    return Base


def created_already() -> Any:
    return orm.declarative_base()


def created_already_with_names() -> Any:
    return orm.declarative_base(cls=fsa.Model, metaclass=fsa.DefaultMeta)


BASES = [
    its_own_model,
    own_model,
    plain_class,
    declarative,
    declarative_without_meta,
    declarative_after_a_mixin,
    abstract_child_of_a_base,
    base_with_a_registry,
    base_with_an_annotation_map,
    dataclass_first,
    dataclass_last,
    dataclass_first_without_meta,
    dataclass_last_without_meta,
    created_already,
    created_already_with_names,
]


def database_with_item(
    extension: type[SQLAlchemy], base: Any
) -> tuple[SQLAlchemy, Any]:
    """Return a database with one model, made with the given base."""
    database = extension(model_class=base)

    @model_of(database)
    class Item(OwnModel):
        __tablename__ = "item"

        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str] = orm.mapped_column()

    return database, Item


def facts_of(item: Any) -> dict[str, Any]:
    """Return what a base may have made of a model."""
    return {
        "repr": type(item).__repr__.__qualname__,
        "type": item.__table__.c.name.type.length,
        "key": item.__table__.primary_key.name,
        "greeting": getattr(item, "greet", str)(),
        "equal": item == type(item)(id=1, name="a"),
    }


def outcome_of(extension: type[SQLAlchemy], base: Any) -> dict[str, Any] | str:
    """Return what becomes of an item, or why there cannot be one."""
    try:
        _, item_class = database_with_item(extension, base)
    except sa.exc.InvalidRequestError as error:
        # SQLAlchemy 2.1 does not let Flask-SQLAlchemy copy a dataclass.
        return type(error).__name__

    return facts_of(item_class(id=1, name="a"))


@pytest.mark.once
@pytest.mark.parametrize("make_base", BASES)
def test_models_are_what_they_are_without_the_mixin(
    make_base: Callable[[], Any],
) -> None:
    """A12: a base that Flask-SQLAlchemy accepts is accepted, any other is not."""
    without = outcome_of(SQLAlchemy, make_base())

    with_mixin = outcome_of(AtomicSQLAlchemy, make_base())

    assert with_mixin == without


@pytest.mark.once
@pytest.mark.parametrize("extension", [BothMixins, MixinsReversed])
@pytest.mark.parametrize("make_base", BASES)
def test_models_of_every_base_have_the_utilities(
    make_base: Callable[[], Any], extension: type[SQLAlchemy]
) -> None:
    """M1, A12: whatever the base that Flask-SQLAlchemy accepts."""
    if isinstance(outcome_of(SQLAlchemy, make_base()), str):
        return
    database, item_class = database_with_item(extension, make_base())
    app = Flask("bases")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    database.init_app(app)

    with app.app_context():
        database.create_all()
        item = item_class(id=1, name="a")
        database.session.add(item)
        found = [item_class.get_instance(1), item_class.lock_instance((1,))]
        key = item_class.get_pk_values(item)
        database.session.rollback()
    with app.app_context():
        database.engine.dispose()

    assert issubclass(database.Model, _ModelUtilitiesMixin)
    assert found == [item, item]
    assert key == (1,)


def test_each_database_has_utilities_for_its_own_session() -> None:
    """M1, A12: a base may serve several databases, one after the other."""
    first = BothMixins()
    second = BothMixins()

    assert first.Model.__fsa__ is first
    assert second.Model.__fsa__ is second
    assert not hasattr(fsa.Model, "get_instance")
