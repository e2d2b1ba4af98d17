"""What comes of conflicts that another connection provokes for real."""

import contextlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import current_app

from support.arenas import (
    AT_COMMIT,
    DEADLOCK,
    PROVOCATIONS,
    MakeArena,
    Provocation,
    names,
    value_of,
    wait_for_each_other,
)
from support.models import Account, Tag, db
from support.races import OutOfOrder
from swpt_pythonlib.flask_signalbus import DBSerializationError, RetryPolicy
from swpt_pythonlib.flask_signalbus.utils import get_db_error_code

Treatment = Callable[[Callable[[], None]], None]


def leave(provoke: Callable[[], None]) -> None:
    provoke()


def nest(provoke: Callable[[], None]) -> None:
    with db.session.begin_nested():
        provoke()


def wrap(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError as error:
        raise OutOfOrder from error


def replace(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError):
        provoke()
        return
    raise OutOfOrder


def swallow(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError):
        provoke()


def nest_and_swallow(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError), db.session.begin_nested():
        provoke()


def swallow_and_nest(provoke: Callable[[], None]) -> None:
    with db.session.begin_nested():
        swallow(provoke)


def swallow_and_roll_back(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError:
        db.session.rollback()


def swallow_and_commit(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError:
        # A failed flush lets nobody commit before a rollback.
        with contextlib.suppress(sa.exc.InvalidRequestError, sa.exc.DBAPIError):
            db.session.commit()


TREATMENTS = [
    leave,
    nest,
    wrap,
    replace,
    swallow,
    nest_and_swallow,
    swallow_and_nest,
    swallow_and_roll_back,
    swallow_and_commit,
]


@pytest.mark.parametrize("treat", TREATMENTS)
@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_a_block_with_a_conflict_is_executed_again_as_a_whole(
    make_arena: MakeArena, provocation: Provocation, treat: Treatment, dialect_name: str
) -> None:
    """A11, A13: whatever its code makes of the exception; nothing is half committed."""
    arena = make_arena(provocation)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        treat(lambda: provocation.provoke(arena))
        # Without the rule, this half would be committed alone.
        db.session.execute(sa.insert(Tag).values(name=f"run {arena.executions}"))

    block()

    assert arena.codes[0] == provocation.codes[dialect_name]
    assert arena.executions == 2
    assert names() == ["run 2"]
    assert value_of(1) == 101


@pytest.mark.requires("concurrent_writers")
@pytest.mark.parametrize("treat", [swallow, nest_and_swallow])
def test_the_first_half_of_a_block_is_not_committed_alone(
    make_arena: MakeArena, treat: Treatment
) -> None:
    """A13: nor is it lost, when the conflict is swallowed."""
    arena = make_arena(DEADLOCK)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        db.session.execute(sa.insert(Tag).values(name=f"before {arena.executions}"))
        treat(lambda: wait_for_each_other(arena))

    block()

    assert arena.executions == 2
    assert names() == ["before 2"]


@pytest.mark.requires("commit_conflicts")
def test_a_conflict_at_commit_is_repeated(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A5: the function has returned already, and is executed again nevertheless."""
    provocation = AT_COMMIT[dialect_name]
    arena = make_arena(provocation)
    returned = []

    @db.atomic
    def block() -> Account:
        arena.executions += 1
        account = db.session.get_one(Account, 1)
        provocation.provoke(arena)
        returned.append(len(arena.codes))
        # From here on, COMMIT is the only statement.
        return account

    account = block()

    assert arena.codes[0] == provocation.codes[dialect_name]
    assert returned == [0, 1]
    assert value_of(1) == account.value == 1
    assert sa.inspect(account).detached


@pytest.mark.requires("commit_conflicts")
def test_the_conflict_at_commit_is_raised_when_the_attempts_run_out(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A5, A8: itself; the session can be used again."""
    provocation = AT_COMMIT[dialect_name]
    arena = make_arena(provocation)
    current_app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=1)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        provocation.provoke(arena)

    with pytest.raises(sa.exc.OperationalError) as caught:
        block()
    arena.rival.rollback()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert get_db_error_code(caught.value) == provocation.codes[dialect_name]
    assert names() == ["after"]
    assert value_of(1) == 0


@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_a_block_that_has_joined_work_is_given_up(
    make_arena: MakeArena, provocation: Provocation, dialect_name: str
) -> None:
    """A4, A13: the conflict is the cause."""
    arena = make_arena(provocation)
    db.session.add(Tag(name="joined"))

    @db.atomic
    def block() -> None:
        arena.executions += 1
        with db.session.no_autoflush:
            provocation.provoke(arena)

    with pytest.raises(DBSerializationError) as caught:
        block()

    assert isinstance(caught.value.__cause__, sa.exc.DBAPIError)
    code = get_db_error_code(caught.value.__cause__)
    assert code == provocation.codes[dialect_name]
    assert arena.executions == 1
    assert names() == []
