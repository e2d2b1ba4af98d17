"""What becomes of the objects of a block: its results, its arguments, its session."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask

from support.extensions import AtomicSQLAlchemy
from support.models import Account, db
from support.races import Race
from support.signatures import Stored


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


def count_of_selects(work: Callable[[], object]) -> int:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    return sum(statement.startswith("SELECT") for statement in statements)


def test_objects_that_a_block_does_not_touch_cost_it_nothing(
    app: Flask, stored: Stored
) -> None:
    """A14: those that were in the session before it are not loaded for its end."""
    accounts = [Account(id=id) for id in range(1, 51)]
    db.session.add_all(accounts)
    db.session.commit()

    def touch_one() -> None:
        accounts[0].value += 1

    selects = count_of_selects(lambda: db.execute_atomic(touch_one))

    assert selects == 1
    assert stored()[1] == 1


def test_objects_that_a_block_returns_are_loaded_by_one_statement(app: Flask) -> None:
    """A14, A1: even if it has not looked at them."""
    accounts = [Account(id=id, value=id) for id in range(1, 51)]
    db.session.add_all(accounts)
    db.session.commit()
    results: list[Account] = []

    selects = count_of_selects(
        lambda: results.extend(db.execute_atomic(lambda: accounts))
    )

    assert selects == 1
    assert [account.value for account in results] == list(range(1, 51))


def test_what_the_database_fills_in_is_loaded_by_one_statement_per_model(
    shop: AtomicSQLAlchemy, order_class: Any
) -> None:
    """A14: however many objects there are."""
    statements: list[str] = []

    @sa.event.listens_for(shop.engine, "before_cursor_execute")
    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    @shop.atomic
    def create() -> list[Any]:
        orders = [order_class(pieces=i) for i in range(1, 21)]
        shop.session.add_all(orders)
        shop.session.flush()
        statements.clear()
        return orders

    orders = create()

    assert sum(statement.startswith("SELECT") for statement in statements) <= 1
    assert [order.price for order in orders] == [7] * 20
