"""Increments of one row by several processes at once, none of which may get lost."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from support.models import Account, db
from support.rivals import TIMEOUT
from swpt_pythonlib.flask_signalbus import RetryPolicy

PROCESSES = 4
INCREMENTS = 50

_SPAWNING = multiprocessing.get_context("spawn")


class Counting(RetryPolicy):
    """The default policy, which remembers the most failures that it has seen."""

    most_failures = 0

    def pause_after(self, failures: int, elapsed: float = 0.0) -> float | None:
        Counting.most_failures = max(Counting.most_failures, failures)
        return super().pause_after(failures, elapsed)


@contextmanager
def application(url: str) -> Iterator[None]:
    app = Flask("increments")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        yield
    with app.app_context():
        db.engine.dispose()


@db.atomic
def increment(id: int) -> None:
    db.session.get_one(Account, id).value += 1


def increment_often(
    url: str, times: int, policy: Counting, ready: Any, start: Any, results: Any
) -> None:
    """Increment the row, as one of several processes that start at once."""
    with application(url):
        current_app.config["SIGNALBUS_RETRY_POLICY"] = policy
        db.session.connection()
        db.session.rollback()
        ready.release()
        start.wait(TIMEOUT)
        try:
            for _ in range(times):
                increment(1)
        except Exception as error:
            results.put(repr(error))
            raise
        results.put(Counting.most_failures)


def contend(
    url: str, *, processes: int, times: int, policy: Counting
) -> tuple[int, list[Any]]:
    """Return the final value, and the most failures that each process has seen."""
    ready = _SPAWNING.Semaphore(0)
    start = _SPAWNING.Event()
    results = _SPAWNING.Queue()
    arguments = (url, times, policy, ready, start, results)
    contenders = [
        _SPAWNING.Process(target=increment_often, args=arguments, daemon=True)
        for _ in range(processes)
    ]
    for contender in contenders:
        contender.start()
    try:
        for _ in contenders:
            assert ready.acquire(timeout=TIMEOUT)
        start.set()
        failures = [results.get(timeout=2 * TIMEOUT) for _ in contenders]
    finally:
        for contender in contenders:
            contender.join(1)
            contender.kill()

    engine = sa.create_engine(url)
    with engine.connect() as connection:
        value = connection.scalar(sa.select(Account.value))
    engine.dispose()
    assert value is not None
    return value, failures


@pytest.fixture
def counter(tables: str, app: Flask) -> str:
    """Store a row whose value is 0, and return the URL of its database."""
    db.session.add(Account(id=1, value=0))
    db.session.commit()
    db.session.remove()
    return tables


def test_processes_lose_no_increments(counter: str) -> None:
    """A10: at the default level, with the default patience."""
    value, failures = contend(
        counter, processes=PROCESSES, times=INCREMENTS, policy=Counting()
    )

    assert value == PROCESSES * INCREMENTS, failures


@pytest.mark.requires("journal_modes")
def test_processes_lose_no_increments_in_a_write_ahead_log(
    counter: str, new_database: Callable[[], str]
) -> None:
    """A10: readers don't stop writers there, so other conflicts arise."""
    url = new_database()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    db.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Account).values(id=1, value=0))
    engine.dispose()

    value, failures = contend(
        url, processes=PROCESSES, times=INCREMENTS, policy=Counting()
    )

    assert value == PROCESSES * INCREMENTS, failures


def test_threads_lose_no_increments(app: Flask, counter: str) -> None:
    """A10, A12: each thread has a session, and a block, of its own."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=60)

    def increment_in_thread() -> None:
        with app.app_context():
            for _ in range(10):
                increment(1)

    with ThreadPoolExecutor(PROCESSES) as threads:
        started: list[Future[None]] = [
            threads.submit(increment_in_thread) for _ in range(PROCESSES)
        ]
        for future in started:
            future.result(4 * TIMEOUT)

    assert db.session.get_one(Account, 1).value == PROCESSES * 10
