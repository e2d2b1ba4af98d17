"""What a block does when it returns, when it raises, and when it loses a race."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, db
from support.own_models import OwnModel, model_of
from support.races import OutOfOrder, Race
from support.signatures import DBFactory, Stored
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin


def test_a_block_commits_when_it_returns(app: Flask, stored: Stored) -> None:
    """A1: what has been added, changed and deleted."""
    db.session.add_all([Account(id=1, value=100), Account(id=2)])
    db.session.commit()

    @db.atomic
    def block() -> None:
        db.session.get_one(Account, 1).value += 5
        db.session.delete(db.session.get_one(Account, 2))
        db.session.add(Account(id=3, value=300))

    block()

    assert stored() == {1: 105, 3: 300}


def test_a_block_rolls_back_when_it_raises(app: Flask, stored: Stored) -> None:
    """A1: the exception reaches the caller as it is, without another execution."""
    error = OutOfOrder()
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        db.session.add(Account(id=1))
        db.session.flush()
        raise error

    with pytest.raises(OutOfOrder) as caught:
        block()

    assert caught.value is error
    assert stored() == {}
    assert len(executions) == 1
    assert not db.session().in_transaction()


def test_a_block_that_lost_a_race_is_executed_again(app: Flask, stored: Stored) -> None:
    """A1: from the start, with the same arguments; nothing is left of the first."""
    race = Race(losses=2)
    calls = []

    @db.atomic
    def block(id: int, *, value: int) -> str:
        calls.append((id, value))
        db.session.add(Account(id=id, value=value))
        db.session.flush()
        race.run()
        return "done"

    result = block(1, value=5)

    assert result == "done"
    assert calls == [(1, 5)] * 3
    assert stored() == {1: 5}


def test_a_function_keeps_its_name(app: Flask) -> None:
    """A1: and everything else that 'functools.wraps' keeps."""

    def deposit() -> None:
        """Deposit."""

    block = db.atomic(deposit)

    assert block.__name__ == "deposit"
    assert block.__doc__ == "Deposit."
    assert vars(block)["__wrapped__"] is deposit


def test_methods_can_be_blocks(app: Flask, stored: Stored) -> None:
    """A1: even those of a class."""

    class Bank:
        @db.atomic
        def open(self, id: int) -> None:
            db.session.add(Account(id=id))

        @classmethod
        @db.atomic
        def open_for_all(cls, id: int) -> None:
            db.session.add(Account(id=id))

    Bank().open(1)
    Bank.open_for_all(2)

    assert stored() == {1: 0, 2: 0}


def test_a_block_can_be_executed_on_the_spot(app: Flask, stored: Stored) -> None:
    """A1: with arguments, or as a decorator whose result takes the function's name."""
    race = Race(losses=1)

    def open_account(id: int, *, value: int) -> int:
        db.session.add(Account(id=id, value=value))
        race.run()
        return id

    result = db.execute_atomic(open_account, 1, value=5)

    @db.execute_atomic
    def name() -> str:
        return "result"

    assert (result, name) == (1, "result")
    assert stored() == {1: 5}


def test_a_block_starts_from_what_is_stored_even_where_commits_expire_nothing(
    make_db: DBFactory,
) -> None:
    """A10: no isolation level would notice a value of an older transaction."""
    own_db = make_db(AtomicProceduresMixin, session_options={"expire_on_commit": False})

    @model_of(own_db)
    class Counted(OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)
        value = sa.Column(sa.Integer, default=0)

    own_db.create_all()
    still_in_the_session = Counted(id=1)
    own_db.session.add(still_in_the_session)
    own_db.session.commit()
    with own_db.engine.begin() as connection:
        connection.execute(sa.update(Counted).values(value=10))

    def increment() -> Any:
        counted = Counted.get_instance(1)
        counted.value += 1
        return counted

    assert own_db.execute_atomic(increment).value == 11


def test_a_block_that_returns_has_committed_whatever_went_wrong_on_a_cursor(
    app: Flask, stored: Stored
) -> None:
    """A1: where that has aborted the transaction, COMMIT would do nothing."""

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        db.session.flush()
        cursor: Any = db.session.connection().connection.cursor()
        with contextlib.suppress(Exception):
            cursor.execute("no SQL")
        cursor.close()

    try:
        block()
    except RuntimeError:
        assert stored() == {}
    else:
        assert stored() == {1: 0}


async def coroutine() -> None:
    pass


def generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize("func", [coroutine, generator])
def test_a_function_whose_body_runs_later_cannot_be_atomic(func: Any) -> None:
    """A1: it would run when the block has ended."""
    with pytest.raises(TypeError, match=func.__name__):
        db.atomic(func)


def test_an_error_that_a_block_swallowed_does_not_undo_it_silently(
    app: Flask, stored: Stored
) -> None:
    """A1: where the error has aborted the transaction, it is raised after all."""

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1, value=7))
        db.session.flush()
        with contextlib.suppress(sa.exc.DBAPIError):
            db.session.execute(sa.text("SELECT nothing FROM nowhere"))

    expected = {1: 7}
    try:
        block()
    except sa.exc.DBAPIError:
        expected = {}

    assert stored() == expected
