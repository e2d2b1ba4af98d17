"""Integrity errors that make a block start over, and those that do not."""

import contextlib
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, Tag, db
from support.races import OutOfOrder
from support.signatures import Stored
from swpt_pythonlib.flask_signalbus import RetryPolicy


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
def test_what_another_attempt_can_cure_is_retried_and_then_raised_as_it_is(
    app: Flask, collide: Callable[[], None]
) -> None:
    """A9: a duplicate key or a foreign key, when every attempt collides."""
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            collide()

    with pytest.raises(sa.exc.IntegrityError):
        block()

    assert len(executions) == app.config["SIGNALBUS_RETRY_POLICY"].attempts
    assert db.session.scalars(sa.select(Tag.name)).all() == ["taken"]


@pytest.mark.usefixtures("parent_and_child")
def test_a_collision_that_every_attempt_meets_is_told_within_a_second(
    app: Flask,
) -> None:
    """A9: with the policy that applications have; it is no race then."""
    app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy()
    executions = []

    @db.atomic
    def block() -> None:
        executions.append(1)
        with db.retry_on_integrity_error():
            collide_with_key()

    started = time.monotonic()
    with pytest.raises(sa.exc.IntegrityError):
        block()

    assert time.monotonic() - started < 1.0
    assert 3 <= len(executions) <= 10


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
    """A9: even after a collision that a savepoint has contained."""

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
