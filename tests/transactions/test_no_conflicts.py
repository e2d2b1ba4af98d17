"""Errors that are no conflicts of the block: none of them makes it start over."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from support.arenas import NOTHING, MakeArena, names, write
from support.capabilities import KILL
from support.models import Account, Tag, db
from swpt_pythonlib.flask_signalbus import DBSerializationError


def violate_not_null() -> None:
    db.session.execute(sa.insert(Tag).values(name=None))


def misspell() -> None:
    db.session.execute(sa.text("SELEKT 1"))


def collide() -> None:
    db.session.execute(sa.insert(Account).values(id=1))


def ask_for_what_is_not_there() -> None:
    db.session.execute(sa.text("SELECT nothing FROM nowhere"))


@pytest.mark.parametrize(
    "fail", [violate_not_null, misspell, collide, ask_for_what_is_not_there]
)
def test_an_error_that_is_no_conflict_is_raised_at_once(
    make_arena: MakeArena, fail: Callable[[], None]
) -> None:
    """A1, A11: unchanged; the session can be used again."""
    arena = make_arena(NOTHING)
    raised = []

    @db.atomic
    def block() -> None:
        arena.executions += 1
        try:
            fail()
        except sa.exc.DBAPIError as error:
            raised.append(error)
            raise

    with pytest.raises(sa.exc.DBAPIError) as caught:
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert raised == [caught.value]
    assert arena.executions == 1
    assert names() == ["after"]


@pytest.mark.requires("row_locks")
def test_a_lost_connection_is_no_conflict(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A11: nobody knows what has become of the transaction."""
    arena = make_arena(NOTHING)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        arena.rival.run(KILL[dialect_name].format(arena.number))
        write()

    with pytest.raises(sa.exc.DBAPIError) as caught:
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert caught.value.connection_invalidated
    assert arena.executions == 1
    assert names() == ["after"]


#: How each database is made to give a statement up.
SLOW: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("SET LOCAL statement_timeout = 50", "SELECT pg_sleep(60)"),
    "mysql": (
        "SET SESSION max_execution_time = 50",
        "SELECT count(*) FROM information_schema.collations a,"
        " information_schema.collations b, information_schema.collations c,"
        " information_schema.collations d",
    ),
    "mariadb": ("SET STATEMENT max_statement_time = 0.05 FOR SELECT sleep(60)",),
}


@pytest.mark.requires("row_locks")
def test_a_statement_that_took_too_long_is_no_conflict(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A11: it would take as long in another attempt."""
    arena = make_arena(NOTHING)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        for statement in SLOW[dialect_name]:
            db.session.execute(sa.text(statement))

    with pytest.raises(sa.exc.DBAPIError):
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert arena.executions == 1
    assert names() == ["after"]


def test_an_error_of_another_session_is_no_conflict_of_the_block(
    make_arena: MakeArena,
) -> None:
    """A13: what has been rolled back elsewhere is none of its business."""
    arena = make_arena(NOTHING)
    proxy: Any = current_app
    app: Flask = proxy._get_current_object()

    @db.atomic
    def block() -> None:
        arena.executions += 1
        with app.app_context(), contextlib.suppress(DBSerializationError):
            db.execute_atomic(raise_serialization_error)
        db.session.add(Tag(name="done"))

    block()

    assert arena.executions == 1
    assert names() == ["done"]


def raise_serialization_error() -> None:
    raise DBSerializationError
