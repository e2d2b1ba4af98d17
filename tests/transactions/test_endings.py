"""A block ends with one commit or one rollback, whatever happens inside."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, Tag, db
from support.races import OutOfOrder, Race, Stop
from support.signatures import Stored
from swpt_pythonlib.flask_signalbus import DBSerializationError


def add_instance() -> None:
    db.session.add(Account(id=2))


def test_what_follows_a_rollback_inside_a_block_is_committed(
    app: Flask, stored: Stored
) -> None:
    """A6: and what precedes it is not."""

    @db.atomic
    def block() -> Account:
        db.session.add(Account(id=1))
        db.session.flush()
        db.session.rollback()
        account = Account(id=2)
        db.session.add(account)
        return account

    account = block()

    assert stored() == {2: 0}
    assert sa.inspect(account).detached


def test_a_block_may_end_with_a_rollback(app: Flask, stored: Stored) -> None:
    """A6: it returns normally then."""

    @db.atomic
    def block() -> str:
        db.session.add(Account(id=1))
        db.session.flush()
        db.session.rollback()
        return "nothing done"

    assert block() == "nothing done"
    assert stored() == {}


def test_a_block_in_which_there_was_a_rollback_is_executed_again(
    app: Flask, stored: Stored
) -> None:
    """A6: the block still owns the transaction that follows."""
    race = Race(losses=1)

    @db.atomic
    def block() -> None:
        db.session.rollback()
        db.session.add(Account(id=race.runs))
        db.session.flush()
        race.run()

    block()

    assert stored() == {1: 0}


def test_a_block_ends_with_one_commit(app: Flask, ends: Counter[str]) -> None:
    """A7: even one that has done nothing."""
    db.execute_atomic(lambda: None)

    assert ends == {"commit": 1}


@pytest.mark.parametrize(
    "error", [OutOfOrder(), Stop(), KeyboardInterrupt(), SystemExit(), GeneratorExit()]
)
def test_a_block_that_raises_ends_with_one_rollback(
    app: Flask, stored: Stored, ends: Counter[str], error: BaseException
) -> None:
    """A7: whatever it raises; and what is no 'Exception' is never repeated."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        db.session.add(Account(id=1))
        db.session.flush()
        raise error

    with pytest.raises(type(error)) as caught:
        block()

    assert caught.value is error
    assert ends == {"rollback": 1}
    assert len(executions) == 1
    assert stored() == {}


def test_each_failed_execution_ends_with_one_rollback(
    app: Flask, ends: Counter[str]
) -> None:
    """A7: and the successful one with one commit."""
    db.execute_atomic(Race(losses=3).run)

    assert ends == {"commit": 1, "rollback": 3}


@pytest.mark.parametrize("error", [OutOfOrder(), Stop()])
def test_a_commit_that_raises_is_followed_by_one_rollback(
    app: Flask, stored: Stored, ends: Counter[str], error: BaseException
) -> None:
    """A7: the error reaches the caller, and the session can be used again."""

    def refuse(session: Any) -> None:
        raise error

    sa.event.listen(db.session(), "before_commit", refuse)
    with pytest.raises(type(error)):
        db.execute_atomic(add_instance)
    ends_of_the_failure = dict(ends)
    sa.event.remove(db.session(), "before_commit", refuse)
    db.execute_atomic(lambda: db.session.add(Account(id=3)))

    assert ends_of_the_failure == {"commit": 1, "rollback": 1}
    assert stored() == {3: 0}


def test_a_block_that_is_committed_is_not_executed_again(
    app: Flask, stored: Stored
) -> None:
    """A1: whatever a listener raises when it has been told of the commit."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        db.session.add(Account(id=len(executions)))

    def tell(session: object) -> None:
        raise DBSerializationError

    sa.event.listen(db.session(), "after_commit", tell)

    with pytest.raises(DBSerializationError):
        block()

    assert stored() == {1: 0}


def test_a_flush_that_raises_is_followed_by_one_rollback(
    app: Flask, stored: Stored, ends: Counter[str]
) -> None:
    """A7: the error is the flush's own, and the session can be used again."""
    with pytest.raises(sa.exc.IntegrityError):
        db.execute_atomic(lambda: db.session.add(Tag()))

    db.execute_atomic(add_instance)

    assert ends == {"rollback": 1, "commit": 1}
    assert stored() == {2: 0}
