"""Blocks within blocks, after blocks, and in contexts of their own."""

import contextlib
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import orm

from support.extensions import AtomicSQLAlchemy
from support.models import Account, db
from support.races import OutOfOrder, Race, Stop
from support.signatures import AppFactory, Stored


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
