"""How the mixins are combined, and that nothing leaks out of a block."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from support.extensions import BothMixins, MixinsReversed
from support.models import Account, Tag, db
from support.own_models import OwnModel, model_of
from support.races import Stop
from support.rivals import TIMEOUT
from support.signatures import AppFactory
from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    DBSerializationError,
    SignalBus,
    SignalBusMixin,
)

# Combinations.


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
def test_a_mixin_may_not_come_partly_behind() -> None:
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
    """A12: also an application, and a metadata."""
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


# Leaks.


def lose_race_once(executions: list[int]) -> None:
    executions.append(1)
    if len(executions) == 1:
        raise DBSerializationError


@pytest.mark.parametrize("error", [None, ValueError(), Stop()])
def test_a_block_leaves_nothing_in_the_session(
    app: Flask, error: BaseException | None
) -> None:
    """A12: the next one begins as the first did, however that has ended."""
    before = dict(db.session.info)

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        db.session.flush()
        if error:
            raise error

    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    executions: list[int] = []
    db.execute_atomic(lose_race_once, executions)

    assert dict(db.session.info) == before
    assert len(executions) == 2
    with pytest.raises(RuntimeError), db.retry_on_integrity_error():
        raise Stop


def test_a_block_leaves_nothing_in_the_pool(make_app: AppFactory) -> None:
    """A12: the connection of one request serves the next."""
    app = make_app(pool_size=1, max_overflow=0)
    executions: list[int] = []

    with app.app_context():
        db.session.add(Account(id=1))
        db.session.flush()
        db.session.remove()
    with app.app_context():
        db.session.connection()
        db.execute_atomic(lose_race_once, executions)

    assert len(executions) == 2


def test_a_context_that_ends_in_a_block_ends_the_block(app: Flask) -> None:
    """A12: the session of the next request is not in a block."""
    executions: list[int] = []

    @db.atomic
    def block() -> None:
        raise Stop

    with pytest.raises(Stop), app.app_context():
        block()
    with app.app_context():
        db.execute_atomic(lose_race_once, executions)

    assert len(executions) == 2


def test_threads_have_blocks_of_their_own(app: Flask) -> None:
    """A12: a block of one thread is not nested in that of another."""
    inside = Barrier(2)

    def run() -> tuple[int, bool]:
        executions: list[int] = []
        with app.app_context():

            @db.atomic
            def block() -> None:
                if not executions:
                    inside.wait(TIMEOUT)
                lose_race_once(executions)

            block()
            return len(executions), db.session().in_transaction()

    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(run) for _ in range(2)]

        assert [result.result(TIMEOUT) for result in results] == [(2, False)] * 2


def run_in_child(url: str, results: Any) -> None:
    """Run a block in a forked child, which has inherited everything."""
    executions: list[int] = []

    @db.atomic
    def block() -> None:
        db.session.add(Tag(name=f"child {len(executions)}"))
        lose_race_once(executions)

    app = Flask("child")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        block()
        db.session.remove()
        db.engine.dispose()
    results.put(len(executions))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_run_blocks(app: Flask, tables: str) -> None:
    """A12: also when it is forked in the middle of its parent's block."""
    forking = multiprocessing.get_context("fork")
    results = forking.Queue()

    @db.atomic
    def block() -> int:
        db.session.scalar(sa.select(1))
        child = forking.Process(target=run_in_child, args=(tables, results))
        child.start()
        executions: int = results.get(timeout=TIMEOUT)
        child.join(TIMEOUT)
        return executions

    executions = block()

    assert executions == 2
    assert db.session.scalars(sa.select(Tag.name)).all() == ["child 1"]
