"""What an atomic block does, and what it leaves behind."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from support.lost_races import LostRaces
from support.models import Account, Tag, db
from support.signatures import AppFactory, DBFactory
from swpt_pythonlib.flask_signalbus import (
    AtomicProceduresMixin,
    DBSerializationError,
    RetryPolicy,
)


class AtomicSQLAlchemy(AtomicProceduresMixin, SQLAlchemy):
    pass


class OutOfOrder(Exception):
    """An error of the application."""


class Stop(BaseException):
    """An error that is no 'Exception'."""


class Race:
    """Is lost a number of times, and then won."""

    def __init__(self, *, losses: int) -> None:
        self.losses = losses
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        if self.runs <= self.losses:
            raise DBSerializationError(f"lost race {self.runs}")


@pytest.fixture
def stored(app: Flask) -> Callable[[], dict[int, int]]:
    """Return what reads the committed accounts and their values."""

    def stored() -> dict[int, int]:
        rows = sa.select(Account.id, Account.value).order_by(Account.id)
        with db.engine.connect() as connection:
            return {row.id: row.value for row in connection.execute(rows)}

    return stored


Stored = Callable[[], dict[int, int]]


@pytest.fixture
def ends(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of 'db.session.commit()' and 'db.session.rollback()'."""
    counter: Counter[str] = Counter()

    def counted(name: str) -> Callable[[], None]:
        original = getattr(db.session, name)

        def end() -> None:
            counter[name] += 1
            original()

        return end

    for name in ("commit", "rollback"):
        monkeypatch.setattr(db.session, name, counted(name))
    return counter


# What a block does.


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
    assert block.__wrapped__ is deposit  # type: ignore[attr-defined]


def test_methods_can_be_blocks(app: Flask, stored: Stored) -> None:
    """A1: also the ones of a class."""

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


# The objects of a block.


@pytest.fixture
def shop() -> AtomicSQLAlchemy:
    """Return a database whose rows get values from the database."""

    class Base(orm.DeclarativeBase):
        pass

    return AtomicSQLAlchemy(model_class=Base)


@pytest.fixture
def order_class(
    shop: AtomicSQLAlchemy, tables: str, request: pytest.FixtureRequest
) -> Iterator[Any]:
    parent: Any = shop.Model

    class PurchaseOrder(parent):  # type: ignore[misc]
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        pieces: orm.Mapped[int]
        state: orm.Mapped[str] = orm.mapped_column(sa.String(9), server_default="new")
        price: orm.Mapped[int] = orm.mapped_column(
            server_default="7", onupdate=sa.text("8")
        )
        secret: orm.Mapped[str] = orm.mapped_column(
            sa.String(9), server_default="s", deferred=True
        )

    PurchaseOrder.total = orm.column_property(
        PurchaseOrder.pieces * PurchaseOrder.price
    )
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = tables
    shop.init_app(app)
    with app.app_context():
        shop.create_all()
        yield PurchaseOrder
        shop.session.remove()
        shop.drop_all()
        shop.engine.dispose()


def values_of(order: Any) -> tuple[int, str, int, int]:
    return order.pieces, order.state, order.price, order.total


def test_results_are_detached_and_loaded(
    shop: AtomicSQLAlchemy, order_class: Any
) -> None:
    """A1: including the values that only the database knows."""

    @shop.atomic
    def create() -> Any:
        order = order_class(pieces=3)
        shop.session.add(order)
        return order

    @shop.atomic
    def change(id: int) -> Any:
        order = shop.session.get_one(order_class, id)
        order.pieces = 4
        return order

    created = create()
    changed = change(created.id)

    assert sa.inspect(created).detached
    assert sa.inspect(changed).detached
    assert values_of(created) == (3, "new", 7, 21)
    assert values_of(changed) == (4, "new", 8, 32)


def test_results_that_a_block_has_expired_are_loaded(
    shop: AtomicSQLAlchemy, order_class: Any
) -> None:
    """A1: results are never expired, but what is deferred stays unloaded."""

    @shop.atomic
    def create() -> Any:
        order = order_class(pieces=3)
        shop.session.add(order)
        shop.session.flush()
        shop.session.expire_all()
        return order

    created = create()

    assert values_of(created) == (3, "new", 7, 21)


def test_an_object_whose_row_is_gone_does_not_spoil_a_block(
    app: Flask, stored: Stored
) -> None:
    """A1: it cannot be loaded, and is nobody's result."""
    db.session.add(Account(id=1))
    db.session.commit()

    @db.atomic
    def block() -> Account:
        gone = db.session.get_one(Account, 1)
        db.session.execute(
            sa.delete(Account).execution_options(synchronize_session=False)
        )
        db.session.expire(gone)
        account = Account(id=2)
        db.session.add(account)
        return account

    assert block().id == 2
    assert stored() == {2: 0}


def test_the_session_is_empty_after_a_block(app: Flask) -> None:
    """A1: nothing stays attached, not even what was there before the block."""
    before: Any = Account(id=1)
    db.session.add(before)
    db.session.commit()

    @db.atomic
    def block() -> Account:
        account = Account(id=2)
        db.session.add(account)
        return account

    account = block()

    assert sa.inspect(before).detached
    assert account.id == 2
    assert list(db.session) == []


def test_an_object_that_is_passed_in_is_attached_in_every_execution(
    app: Flask, stored: Stored
) -> None:
    """A1: objects become detached only when the commit has succeeded."""
    account = Account(id=1, value=100)
    db.session.add(account)
    db.session.commit()
    race = Race(losses=2)
    attached = []

    @db.atomic
    def deposit(account: Account) -> None:
        attached.append(account in db.session)
        account.value += 5
        race.run()

    deposit(account)

    assert attached == [True, True, True]
    assert account.value == 105
    assert stored() == {1: 105}


def test_an_object_that_is_passed_in_is_attached_after_a_commit_that_failed(
    app: Flask, stored: Stored
) -> None:
    """A1, A5: a commit that is tried does not detach anything."""
    account = Account(id=1, value=100)
    db.session.add(account)
    db.session.commit()
    race = Race(losses=1)
    attached = []

    @db.atomic
    def deposit(account: Account) -> None:
        attached.append(account in db.session)
        account.value += 5

    sa.event.listen(db.session(), "before_commit", lambda session: race.run())
    deposit(account)

    assert attached == [True, True]
    assert stored() == {1: 105}


# Nested blocks.


def test_inner_blocks_do_nothing(
    app: Flask, stored: Stored, ends: Counter[str]
) -> None:
    """A2: the outermost owns the transaction."""
    attached: list[bool] = []
    ends_of_the_inner: Counter[str] = Counter()

    @db.atomic
    def inner(id: int) -> Account:
        account = Account(id=id)
        db.session.add(account)
        return account

    @db.atomic
    def outer() -> None:
        attached.append(inner(1) in db.session)
        attached.append(db.execute_atomic(inner, 2) in db.session)
        ends_of_the_inner.update(ends)

    outer()

    assert attached == [True, True]
    assert ends_of_the_inner.total() == 0
    assert ends == {"commit": 1}
    assert stored() == {1: 0, 2: 0}


def test_an_inner_failure_that_is_swallowed_keeps_its_writes(
    app: Flask, stored: Stored
) -> None:
    """A2: an inner block is a part of the outer one, no savepoint."""

    @db.atomic
    def inner() -> None:
        db.session.add(Account(id=1))
        raise OutOfOrder

    @db.atomic
    def outer() -> None:
        with contextlib.suppress(OutOfOrder):
            inner()
        db.session.add(Account(id=2))

    outer()

    assert stored() == {1: 0, 2: 0}


def test_the_outermost_block_is_what_is_executed_again(
    app: Flask, stored: Stored
) -> None:
    """A2: a race that the inner block lost is the outer one's."""
    race = Race(losses=1)
    executions = []

    @db.atomic
    def inner() -> None:
        executions.append("inner")
        race.run()

    @db.atomic
    def outer() -> None:
        executions.append("outer")
        db.session.add(Account(id=1))
        inner()

    outer()

    assert executions == ["outer", "inner", "outer", "inner"]
    assert stored() == {1: 0}


def test_the_block_after_a_block_is_not_nested(
    app: Flask, stored: Stored, ends: Counter[str]
) -> None:
    """A2: however the first one has ended."""

    @db.atomic
    def block(id: int, error: BaseException | None = None) -> None:
        db.session.add(Account(id=id))
        if error:
            raise error

    block(1)
    for error in (OutOfOrder(), Stop()):
        with pytest.raises(type(error)):
            block(2, error)
    block(3)

    assert ends == {"commit": 2, "rollback": 2}
    assert stored() == {1: 0, 3: 0}


# Without an application.


def test_functions_are_decorated_without_an_application() -> None:
    """A3: a call needs one, the decoration doesn't."""
    database = AtomicSQLAlchemy()

    @database.atomic
    def block() -> None:
        raise AssertionError("It cannot be called.")

    with pytest.raises(RuntimeError, match="outside of application context"):
        block()


def test_the_session_is_looked_up_at_each_call(
    shop: AtomicSQLAlchemy, order_class: Any
) -> None:
    """A3: existing tests replace it after the decoration."""
    ended = []

    class Replacement(orm.scoped_session[Any]):
        def commit(self) -> None:
            ended.append(self)
            super().commit()

    @shop.atomic
    def block() -> None:
        shop.session.scalar(sa.select(1))

    shop.session = Replacement(shop.session.session_factory, lambda: "replacement")
    block()
    shop.session.remove()

    assert ended == [shop.session]


def test_each_context_has_its_own_block(make_app: AppFactory) -> None:
    """A3, A12: a block in a context within a block is not a nested one."""
    app = make_app()
    owners = []

    @db.atomic
    def inner() -> None:
        owners.append(db.session())

    @db.atomic
    def outer() -> None:
        owners.append(db.session())
        with app.app_context():
            inner()
            assert not db.session().in_transaction()

    with app.app_context():
        outer()

    assert owners[0] is not owners[1]


# Work that was there before.


def add_instance() -> None:
    db.session.add(Account(id=2))


def change_instance() -> None:
    db.session.get_one(Account, 1).value = 7


def delete_instance() -> None:
    db.session.delete(db.session.get_one(Account, 1))


def flush_instance() -> None:
    db.session.add(Account(id=2))
    db.session.flush()


def execute_update() -> None:
    db.session.execute(sa.update(Account).values(value=7))


def use_savepoint() -> None:
    with db.session.begin_nested():
        db.session.add(Account(id=2))


def execute_text(statement: str) -> Callable[[], None]:
    def execute() -> None:
        db.session.execute(sa.text(statement))

    return execute


def use_connection() -> None:
    connection = db.session.connection()
    connection.exec_driver_sql("INSERT INTO account (id, value) VALUES (2, 0)")


WORK = [
    pytest.param(add_instance, id="a pending instance"),
    pytest.param(change_instance, id="a changed instance"),
    pytest.param(delete_instance, id="a deleted instance"),
    pytest.param(flush_instance, id="a flushed instance"),
    pytest.param(execute_update, id="an executed update"),
    pytest.param(use_savepoint, id="a released savepoint"),
    pytest.param(use_connection, id="a statement of the connection"),
    *(
        pytest.param(execute_text(statement), id=statement)
        for statement in (
            "update account set value = 7",
            "\n /* SELECT */ UPDATE account SET value = 7",
            "-- SELECT\n DELETE FROM account",
            "INSERT INTO account (id, value) SELECT 2, 0",
        )
    ),
]


@pytest.fixture
def account(app: Flask) -> None:
    db.session.add(Account(id=1, value=1))
    db.session.commit()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("work", WORK)
def test_a_block_that_has_joined_work_is_not_executed_again(
    work: Callable[[], None], stored: Stored
) -> None:
    """A4: that work would be lost silently."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    work()

    with pytest.raises(DBSerializationError, match="joined changes") as caught:
        block()

    assert str(caught.value.__cause__) == "lost race 1"
    assert race.runs == 1
    assert stored() == {1: 1}
    assert list(db.session.new) == []


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("work", WORK)
def test_a_block_commits_the_work_that_it_has_joined(
    work: Callable[[], None], stored: Stored, ends: Counter[str]
) -> None:
    """A4: together with its own."""
    work()

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=3))

    block()

    assert ends == {"commit": 1}
    assert stored() != {1: 1, 3: 0}
    assert stored()[3] == 0


def test_a_block_rolls_back_the_work_that_it_has_joined(
    app: Flask, stored: Stored
) -> None:
    """A4: together with its own, when it raises."""
    flush_instance()

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=3))
        raise OutOfOrder

    with pytest.raises(OutOfOrder):
        block()

    assert stored() == {}


def read_instance() -> None:
    assert db.session.get_one(Account, 1).value == 1


def lock_instance() -> None:
    assert Account.lock_instance(1)


def set_same_value() -> None:
    account = db.session.get_one(Account, 1)
    account.value += 0


def roll_back_work() -> None:
    flush_instance()
    db.session.rollback()


def commit_work() -> None:
    change_instance()
    db.session.commit()


def read_in_savepoint() -> None:
    with db.session.begin_nested():
        read_instance()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(read_instance, id="a read"),
        pytest.param(lock_instance, id="a locking read"),
        pytest.param(set_same_value, id="a change that is none"),
        pytest.param(roll_back_work, id="what has been rolled back"),
        pytest.param(commit_work, id="what has been committed"),
        pytest.param(read_in_savepoint, id="a savepoint"),
        *(
            pytest.param(execute_text(statement), id=statement)
            for statement in (
                "select 1",
                "\n /* UPDATE */ -- DELETE\n SELECT 1",
                "WITH answer AS (SELECT 42 AS x) SELECT x FROM answer",
            )
        ),
    ],
)
def test_a_block_that_has_joined_nothing_is_executed_again(
    work: Callable[[], None],
) -> None:
    """A4: a rollback loses nothing of what was done before the block."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    work()

    block()

    assert race.runs == 2


def test_work_of_a_connection_that_was_there_first_is_joined(app: Flask) -> None:
    """A4: also on a connection that was made before the session had any."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    with db.engine.connect() as connection, app.app_context():
        # Now the engine has listeners, which this connection does not know.
        db.session.connection()
        db.session.rollback()
        db.session.connection(bind_arguments={"bind": connection})
        connection.exec_driver_sql("INSERT INTO account (id, value) VALUES (2, 0)")

        with pytest.raises(DBSerializationError, match="joined changes"):
            block()

    assert race.runs == 1


def commit_the_connection() -> None:
    db.session.flush()
    db.session.connection().commit()


@pytest.mark.parametrize(
    "commit",
    [
        pytest.param(lambda: db.session.commit(), id="its session"),
        pytest.param(commit_the_connection, id="its connection"),
    ],
)
def test_a_block_that_has_committed_is_not_executed_again(
    commit: Callable[[], None], app: Flask, stored: Stored
) -> None:
    """A4: what it has committed would be done twice."""
    race = Race(losses=1)

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        commit()
        db.session.add(Account(id=2))
        race.run()

    with pytest.raises(DBSerializationError, match="committed a part of its own"):
        block()

    assert race.runs == 1
    assert stored() == {1: 0}


def test_a_block_starts_from_what_is_stored_also_where_commits_expire_nothing(
    make_db: DBFactory,
) -> None:
    """A10: no isolation level would notice a value of an older transaction."""
    own_db = make_db(AtomicProceduresMixin, session_options={"expire_on_commit": False})

    class Counted(own_db.Model):  # type: ignore[misc,name-defined]
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
def test_a_function_whose_body_runs_later_can_not_be_atomic(func: Any) -> None:
    """A1: it would run when the block has ended."""
    with pytest.raises(TypeError, match=func.__name__):
        db.atomic(func)


# Rolling back inside a block.


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


# One end.


def test_a_block_ends_with_one_commit(app: Flask, ends: Counter[str]) -> None:
    """A7: also one that has done nothing."""
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


def test_a_flush_that_raises_is_followed_by_one_rollback(
    app: Flask, stored: Stored, ends: Counter[str]
) -> None:
    """A7: the error is the flush's own, and the session can be used again."""
    with pytest.raises(sa.exc.IntegrityError):
        db.execute_atomic(lambda: db.session.add(Tag()))

    db.execute_atomic(add_instance)

    assert ends == {"rollback": 1, "commit": 1}
    assert stored() == {2: 0}


# Patience.


def test_the_last_conflict_is_raised_when_the_attempts_run_out(
    app: Flask, stored: Stored
) -> None:
    """A8: itself, not another error."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=3, first_pause=0.0)
    race = Race(losses=99)

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        race.run()

    with pytest.raises(DBSerializationError, match="lost race 3"):
        block()

    assert race.runs == 3
    assert stored() == {}


def test_the_configured_policy_comes_before_that_of_the_class(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: the policy of the class is what there is without a configuration."""
    app = make_app()
    impatient = RetryPolicy(attempts=2, first_pause=0.0)
    monkeypatch.setattr(type(db), "retry_policy", impatient)
    configured, unconfigured = Race(losses=99), Race(losses=99)

    with app.app_context():
        app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=4, first_pause=0.0)
        with pytest.raises(DBSerializationError):
            db.execute_atomic(configured.run)
        del app.config["SIGNALBUS_RETRY_POLICY"]
        with pytest.raises(DBSerializationError):
            db.execute_atomic(unconfigured.run)

    assert (configured.runs, unconfigured.runs) == (4, 2)


def test_a_policy_that_is_none_is_refused(app: Flask) -> None:
    """A8: before anything is executed."""
    app.config["SIGNALBUS_RETRY_POLICY"] = 5
    race = Race(losses=0)

    with pytest.raises(TypeError, match="must be a 'RetryPolicy', got 5"):
        db.execute_atomic(race.run)

    assert race.runs == 0


def test_the_pauses_are_those_of_the_policy(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: no transaction is open meanwhile."""

    class Certain(RetryPolicy):
        def pause_after(self, failures: int, elapsed: float = 0.0) -> float | None:
            return self.longest_pause_after(failures)

    pauses = []

    def sleep(seconds: float) -> None:
        assert not db.session().in_transaction()
        pauses.append(seconds)

    app.config["SIGNALBUS_RETRY_POLICY"] = Certain(attempts=9, longest_pause=0.05)
    monkeypatch.setattr(time, "sleep", sleep)
    db.execute_atomic(Race(losses=5).run)

    assert pauses == [0.0, 0.02, 0.04, 0.05, 0.05]


def test_each_repetition_is_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A8: as a warning, but the last failure is raised instead."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=3, first_pause=0.0)

    with (
        caplog.at_level(logging.DEBUG, "swpt_pythonlib"),
        pytest.raises(DBSerializationError),
    ):
        db.execute_atomic(Race(losses=99).run)

    facts = [vars(record)["signalbus_failures"] for record in caplog.records]
    assert facts == [1, 2]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


# Integrity errors.


def test_a_collision_makes_the_block_start_over(app: Flask, stored: Stored) -> None:
    """A9: the row of the other transaction is seen then."""
    db.session.add(Account(id=1, value=100))
    db.session.commit()
    executions = []

    @db.atomic
    def get_or_create() -> Account:
        executions.append(1)
        # As if the other transaction had not committed yet.
        is_visible = len(executions) > 1
        account = db.session.get(Account, 1) if is_visible else None
        if account is None:
            with db.retry_on_integrity_error():
                account = Account(id=1)
                db.session.add(account)
        return account

    account = get_or_create()

    assert account.value == 100
    assert len(executions) == 2


def collide_with_key() -> None:
    db.session.add(Account(id=1))


def collide_with_unique_value() -> None:
    db.session.add(Tag(name="taken"))


def collide_with_statement() -> None:
    db.session.execute(sa.insert(Tag).values(name="taken"))


def miss_parent() -> None:
    db.session.add(Tag(name="orphan", account_id=99))


def remove_parent() -> None:
    db.session.execute(sa.delete(Account).where(Account.id == 1))


#: What a database must be told to check foreign keys.
FOREIGN_KEYS_ON = {"sqlite": "PRAGMA foreign_keys = ON"}


@pytest.fixture
def parent_and_child(app: Flask, dialect_name: str) -> None:
    if statement := FOREIGN_KEYS_ON.get(dialect_name):
        connection = db.engine.raw_connection()
        connection.cursor().execute(statement)
        connection.close()
    db.session.add(Account(id=1))
    db.session.flush()
    db.session.add(Tag(name="taken", account_id=1))
    db.session.commit()


@pytest.mark.usefixtures("parent_and_child")
@pytest.mark.parametrize(
    "collide",
    [
        collide_with_key,
        collide_with_unique_value,
        collide_with_statement,
        miss_parent,
        remove_parent,
    ],
)
def test_what_another_attempt_can_cure_is_a_lost_race(
    app: Flask, collide: Callable[[], None]
) -> None:
    """A9: a duplicate key or a foreign key; the cause is the integrity error."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            collide()

    with pytest.raises(DBSerializationError) as caught:
        block()

    assert isinstance(caught.value.__cause__, sa.exc.IntegrityError)
    assert len(executions) == app.config["SIGNALBUS_RETRY_POLICY"].attempts


def test_an_empty_column_is_not_a_lost_race(app: Flask) -> None:
    """A9: it would be as empty in another attempt."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            db.session.add(Tag())

    with pytest.raises(sa.exc.IntegrityError):
        block()

    assert len(executions) == 1


def test_a_failed_check_is_not_a_lost_race(app: Flask, tables: str) -> None:
    """A9: it would fail in another attempt as well."""
    table = sa.Table(
        "checked",
        sa.MetaData(),
        sa.Column("value", sa.Integer, sa.CheckConstraint("value > 0")),
    )
    table.create(db.engine)
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            db.session.execute(table.insert().values(value=0))

    with pytest.raises(sa.exc.DBAPIError) as caught:
        block()
    table.drop(db.engine)

    assert caught.value.orig is not None
    assert len(executions) == 1


@pytest.mark.usefixtures("parent_and_child")
def test_what_was_pending_before_is_flushed_before() -> None:
    """A9: its collisions are not those of the 'with' block."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        collide_with_key()
        with db.retry_on_integrity_error():
            raise AssertionError("This is not reached.")

    with pytest.raises(sa.exc.IntegrityError):
        block()

    assert len(executions) == 1


@pytest.mark.usefixtures("parent_and_child")
def test_a_collision_that_a_savepoint_has_contained_is_none() -> None:
    """A9: the block goes on, if that is what its code says."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            try:
                with db.session.begin_nested():
                    collide_with_unique_value()
            except sa.exc.IntegrityError:
                db.session.add(Tag(name="another"))

    block()

    assert len(executions) == 1
    assert db.session.scalars(sa.select(Tag.name).order_by(Tag.name)).all() == [
        "another",
        "taken",
    ]


@pytest.mark.usefixtures("parent_and_child")
def test_an_error_of_the_application_passes_through() -> None:
    """A9: also after a collision that a savepoint has contained."""

    @db.atomic
    def block() -> None:
        with db.retry_on_integrity_error():
            with (
                contextlib.suppress(sa.exc.IntegrityError),
                db.session.begin_nested(),
            ):
                collide_with_unique_value()
            raise OutOfOrder

    with pytest.raises(OutOfOrder):
        block()


@pytest.mark.parametrize("kind", [AssertionError, RuntimeError])
def test_integrity_errors_are_retried_inside_blocks_only(
    app: Flask, kind: type[Exception]
) -> None:
    """A9: outside of one there would be nothing to execute again."""
    with (
        pytest.raises(kind, match="must be used inside an atomic block"),
        db.retry_on_integrity_error(),
    ):
        raise OutOfOrder


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


# SQLAlchemy warns when it then rolls back the connection that has been committed.
@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_a_block_in_two_databases_is_not_repeated_if_one_commit_fails(
    make_db: DBFactory, new_database: Callable[[], str]
) -> None:
    """A4: the other one may have been committed."""
    own_db = make_db(AtomicProceduresMixin, binds={"other": new_database()})

    class Here(own_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)

    class There(own_db.Model):  # type: ignore[misc,name-defined]
        __bind_key__ = "other"
        id = sa.Column(sa.Integer, primary_key=True)

    own_db.create_all()
    races = LostRaces(own_db.engines["other"])
    calls: list[str] = []

    def block() -> None:
        calls.append("block")
        own_db.session.add(Here())
        own_db.session.execute(sa.delete(There))

    races.at_commits(1)
    with pytest.raises(DBSerializationError, match="can not be repeated"):
        own_db.execute_atomic(block)

    assert calls == ["block"]
    races.remove()
    own_db.engines["other"].dispose()
