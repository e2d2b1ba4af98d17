"""A session that a test fixture, or an application, has put in the place of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import orm

from support.broker import Broker
from support.models import Account, Note, db
from swpt_pythonlib.flask_signalbus import DBSerializationError, SignalBus

MakeSession = Callable[[sa.Connection], Any]


def scoped_with_savepoints(connection: sa.Connection) -> Any:
    return orm.scoped_session(
        orm.sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
    )


def scoped(connection: sa.Connection) -> Any:
    return orm.scoped_session(orm.sessionmaker(bind=connection))


def plain(connection: sa.Connection) -> Any:
    return orm.Session(bind=connection, join_transaction_mode="create_savepoint")


@contextmanager
def assigned(session: Any) -> Iterator[None]:
    original, db.session = db.session, session
    try:
        yield
    finally:
        db.session = original


@contextmanager
def monkeypatched(session: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(db, "session", session)
        yield


@contextmanager
def mocked(session: Any) -> Iterator[None]:
    with patch.object(db, "session", session):
        yield


@pytest.fixture(params=[assigned, monkeypatched, mocked])
def replaced(request: pytest.FixtureRequest) -> Any:
    """Return a way to replace the session of the sample database."""
    return request.param


@pytest.fixture(params=[scoped_with_savepoints, plain])
def session(app: Flask, request: pytest.FixtureRequest, replaced: Any) -> Iterator[Any]:
    """Return a session on a connection whose transaction is rolled back."""
    original = db.session
    with db.engine.connect() as connection:
        outer = connection.begin()
        session = request.param(connection)
        with replaced(session):
            yield session
        session.close()
        outer.rollback()

    assert db.session is original
    assert db.session.scalars(sa.select(Account)).all() == []
    assert db.session.scalars(sa.select(Note)).all() == []


def test_instances_are_looked_up_and_locked_in_it(session: Any) -> None:
    """M3, M4: whatever 'db.session' is at the time of the call."""
    session.add(Account(id=1))
    session.commit()

    found = session.get(Account, 1)

    assert Account.get_instance(1) is found
    assert Account.lock_instance(1) is found
    assert Account.get_pk_values(found) == (1,)


def test_a_block_commits_in_it_and_its_results_are_detached(session: Any) -> None:
    """A1, A15: as on the session that the extension has made."""

    @db.atomic
    def create() -> Account:
        account = Account(id=1, value=7)
        session.add(account)
        return account

    account = create()

    assert sa.inspect(account).detached
    assert account.value == 7
    assert session.scalars(sa.select(Account.value)).all() == [7]


def test_a_block_is_retried_in_it(session: Any) -> None:
    """A1, A15: what the first execution has written is gone."""
    executions = []
    # A rollback would take along what the transaction around has done before.
    session.commit()

    @db.atomic
    def block() -> None:
        executions.append(1)
        session.add(Account(id=len(executions)))
        session.flush()
        if len(executions) == 1:
            raise DBSerializationError

    block()

    assert executions == [1, 1]
    assert session.scalars(sa.select(Account.id)).all() == [2]


def test_joined_work_is_not_lost_silently_in_it(session: Any) -> None:
    """A4, A15: a block that cannot be repeated says so."""
    session.add(Account(id=1))
    session.flush()

    @db.atomic
    def block() -> None:
        raise DBSerializationError

    with pytest.raises(DBSerializationError, match="cannot be retried"):
        block()


def test_signals_are_flushed_in_it(
    session: Any, bus: SignalBus, broker: Broker
) -> None:
    """F19, F7: what the test has committed is sent, and rolled back with the rest."""
    session.add_all([Note(text="a"), Note(text="b")])
    session.commit()

    count = bus.flushmany([Note])

    assert count == 2
    assert broker.sent == ["a", "b"]
    assert session.scalars(sa.select(Note)).all() == []


def test_signals_are_flushed_in_one_that_only_the_fixture_commits(
    app: Flask, bus: SignalBus, broker: Broker
) -> None:
    """F19: SQLAlchemy's default way to join a transaction that has begun."""
    with db.engine.connect() as connection:
        outer = connection.begin()
        with assigned(scoped(connection)):
            db.session.add_all([Note(text="a"), Note(text="b")])
            db.session.commit()
            count = bus.flushmany([Note])
            db.session.remove()
        outer.rollback()

    assert count == 2
    assert broker.sent == ["a", "b"]
    assert db.session.scalars(sa.select(Note)).all() == []


def test_a_flush_over_unfinished_work_is_refused_in_it(
    session: Any, bus: SignalBus, broker: Broker
) -> None:
    """F7, F19: as on the session that the extension has made."""
    session.add(Note(text="a"))
    session.flush()

    with pytest.raises(RuntimeError, match="uncommitted"):
        bus.flushmany([Note])

    assert broker.sent == []
    session.rollback()


def test_a_session_that_is_bound_anew_is_followed(
    app: Flask, bus: SignalBus, broker: Broker
) -> None:
    """F19, A15: 'configure' keeps the session, and changes where it works."""
    with db.engine.connect() as connection:
        outer = connection.begin()
        db.session.remove()
        db.session.configure(binds={}, join_transaction_mode="create_savepoint")
        with patch.dict(db.engines, {None: connection}):
            db.execute_atomic(lambda: db.session.add(Note(text="a")))
            count = bus.flushmany([Note])
        db.session.remove()
        outer.rollback()
    db.session.configure(join_transaction_mode="conditional_savepoint")

    assert count == 1
    assert broker.sent == ["a"]
    assert db.session.scalars(sa.select(Note)).all() == []
