"""Nothing leaks out of a block: into a session, a pool, a thread or a child."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, Tag, db
from support.races import Stop
from support.rivals import TIMEOUT
from support.signatures import AppFactory
from swpt_pythonlib.flask_signalbus import DBSerializationError


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
    """A12: even when it is forked in the middle of its parent's block."""
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
