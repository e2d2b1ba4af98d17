"""How the mixins are combined, and how many applications a database may serve."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from support.extensions import BothMixins, MixinsReversed
from support.models import Tag, db
from support.own_models import OwnModel, model_of
from support.signatures import AppFactory
from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    SignalBus,
    SignalBusMixin,
)


@pytest.mark.once
@pytest.mark.parametrize(
    "mixins",
    [
        (SignalBusMixin,),
        (AtomicProceduresMixin,),
        (SignalBusMixin, AtomicProceduresMixin),
    ],
)
def test_a_mixin_comes_before_the_class_that_it_extends(mixins: Any) -> None:
    """A12: in the wrong order it would do nothing."""
    with pytest.raises(TypeError, match=r"must list '\w+Mixin' before 'SQLAlchemy'"):
        type("Wrong", (SQLAlchemy, *mixins), {})


@pytest.mark.once
def test_a_mixin_may_not_come_partly_after() -> None:
    """A12: each of them would have to come before."""
    with pytest.raises(TypeError, match="'AtomicProceduresMixin' before 'SQLAlchemy'"):
        type("Wrong", (SignalBusMixin, SQLAlchemy, AtomicProceduresMixin), {})


@pytest.mark.once
@pytest.mark.parametrize("mixin", [SignalBusMixin, AtomicProceduresMixin])
def test_a_mixin_alone_is_no_database(mixin: Any) -> None:
    """A12: it needs something to extend."""
    with pytest.raises(TypeError, match="must have 'SQLAlchemy' among its bases"):
        mixin()


@pytest.mark.once
def test_a_mixin_can_be_extended_before_it_is_used() -> None:
    """A12: by classes that are still no database."""

    class Extended(AtomicProceduresMixin):
        pass

    class Database(Extended, SQLAlchemy):
        pass

    assert callable(Database().atomic)


@pytest.mark.parametrize("extension", [BothMixins, MixinsReversed])
def test_the_mixins_work_in_either_order(
    extension: type[BothMixins | MixinsReversed], tables: str
) -> None:
    """A12: a signal is recorded in a block, and sent."""
    sent: list[Any] = []
    database = extension()

    @model_of(database)
    class Letter(OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

        def send_signalbus_message(self) -> None:
            sent.append(self.id)

    app = Flask("orders")
    app.config["SQLALCHEMY_DATABASE_URI"] = tables
    database.init_app(app)
    with app.app_context():
        database.create_all()
        database.execute_atomic(lambda: database.session.add(Letter(id=1)))
        count = database.signalbus.flushmany()
        database.session.remove()
        database.drop_all()
        database.engine.dispose()

    assert (count, sent) == (1, [1])
    assert issubclass(Letter, database.Model)
    assert callable(Letter.get_instance)


@pytest.mark.once
def test_arguments_are_passed_on_to_the_database() -> None:
    """A12: among them an application and a metadata."""
    app = Flask("arguments")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    metadata = sa.MetaData()

    database = BothMixins(app, metadata=metadata, session_options={"autoflush": False})

    with app.app_context():
        assert database.metadata is metadata
        assert database.session().autoflush is False
        assert app.extensions["signalbus"] is database.signalbus
        assert isinstance(database.signalbus, SignalBus)


def test_one_database_serves_several_applications(
    make_app: AppFactory, new_database: Callable[[], str]
) -> None:
    """A12: each with engines and sessions of its own."""
    first, second = make_app(), Flask("second")
    second.config["SQLALCHEMY_DATABASE_URI"] = new_database()
    db.init_app(second)

    @db.atomic
    def block(name: str) -> list[str]:
        db.session.add(Tag(name=name))
        return list(db.session.scalars(sa.select(Tag.name)))

    with first.app_context():
        of_the_first = block("first")
    with second.app_context():
        db.create_all()
        of_the_second = block("second")
        db.session.remove()
        db.engine.dispose()

    assert (of_the_first, of_the_second) == (["first"], ["second"])


def test_an_application_can_be_initialized_anew(tables: str) -> None:
    """A12: as a factory of applications does, for each test."""
    for name in ("one", "two"):
        app = Flask(name)
        app.config["SQLALCHEMY_DATABASE_URI"] = tables
        db.init_app(app)
        with app.app_context():
            db.execute_atomic(lambda: db.session.scalar(sa.select(1)))
            db.session.remove()
            db.engine.dispose()
