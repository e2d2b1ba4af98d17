"""A session that is removed or closed inside a block."""

import threading
from collections.abc import Callable

import pytest
from flask import Flask

from support.models import Account, db
from support.signatures import Stored
from swpt_pythonlib.flask_signalbus import DBSerializationError

ENDS = [
    pytest.param(lambda: db.session.remove(), id="remove"),
    pytest.param(lambda: db.session.close(), id="close"),
    pytest.param(lambda: db.session.rollback(), id="rollback"),
]


@pytest.mark.parametrize("end", ENDS)
def test_what_follows_is_committed_by_the_block(
    app: Flask, stored: Stored, end: Callable[[], None]
) -> None:
    """A15, A6: what came before is rolled back."""

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        db.session.flush()
        end()
        db.session.add(Account(id=2))

    block()

    assert stored() == {2: 0}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_block_does_not_commit_by_itself(
    app: Flask, stored: Stored, end: Callable[[], None]
) -> None:
    """A15, A2: the outermost block still owns the transaction."""

    @db.atomic
    def inner() -> None:
        db.session.add(Account(id=1))

    @db.atomic
    def outer() -> None:
        end()
        inner()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outer()

    assert stored() == {}


@pytest.mark.parametrize("end", ENDS)
def test_the_whole_block_is_executed_again_after_a_conflict(
    app: Flask, stored: Stored, end: Callable[[], None]
) -> None:
    """A15, A5: and nothing of the first execution stays."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        end()
        db.session.add(Account(id=len(executions)))
        db.session.flush()
        if len(executions) == 1:
            raise DBSerializationError

    block()

    assert executions == [1, 1]
    assert stored() == {2: 0}


def test_a_block_in_another_context_is_a_block_of_its_own(
    app: Flask, stored: Stored
) -> None:
    """A2: it has another session, and commits by itself."""

    def create(id: int) -> None:
        db.session.add(Account(id=id))

    def block() -> None:
        with app.app_context():
            db.execute_atomic(create, 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.execute_atomic(block)

    assert stored() == {1: 0}


@pytest.mark.requires("concurrent_writers")
def test_a_block_in_another_thread_is_a_block_of_its_own(
    app: Flask, stored: Stored
) -> None:
    """A2: what the thread of the outer block does has no effect on it."""

    def create() -> None:
        with app.app_context():
            db.execute_atomic(lambda: db.session.add(Account(id=1)))

    def block() -> None:
        thread = threading.Thread(target=create)
        thread.start()
        thread.join()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.execute_atomic(block)

    assert stored() == {1: 0}
