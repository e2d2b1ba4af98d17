"""What a flush makes of its caller's session, and when it refuses to touch it."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, text

from support.broker import Broker, BrokerRefused
from support.models import Account, Note, Tag, db
from support.signatures import AppFactory, Record
from swpt_pythonlib.flask_signalbus import SignalBus


def refuse_to_flush(bus: SignalBus, because: str) -> None:
    with pytest.raises(RuntimeError, match=because):
        bus.flushmany()


def test_a_flush_inside_an_atomic_block_is_refused(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F7: and the block goes on."""
    record(Note, "a")

    @db.atomic
    def block() -> None:
        db.session.add(Tag(name="kept"))
        refuse_to_flush(bus, "inside an atomic block")

    block()

    assert broker.calls == []
    assert db.session.scalars(select(Tag.name)).all() == ["kept"]


def test_a_flush_inside_a_sender_is_refused(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F7."""
    record(Note, "a")
    broker.meanwhile = lambda _: refuse_to_flush(bus, "by a sender")

    bus.flushmany()

    assert broker.sent == ["a"]


def add_pending() -> None:
    db.session.add(Tag(name="mine"))


def add_flushed() -> None:
    add_pending()
    db.session.flush()


def insert_by_statement() -> None:
    db.session.execute(insert(Tag).values(name="mine"))


def insert_by_text() -> None:
    db.session.execute(
        text("/* by hand */ INSERT INTO tag (name) VALUES (:name)"), {"name": "mine"}
    )


def insert_on_the_connection() -> None:
    db.session.connection().execute(insert(Tag).values(name="mine"))


def insert_in_bulk() -> None:
    db.session.bulk_save_objects([Tag(name="mine")])


def insert_in_a_savepoint() -> None:
    with db.session.begin_nested():
        add_flushed()


@pytest.mark.parametrize(
    "change",
    [
        add_pending,
        add_flushed,
        insert_by_statement,
        insert_by_text,
        insert_on_the_connection,
        insert_in_bulk,
        insert_in_a_savepoint,
    ],
)
def test_a_flush_over_uncommitted_changes_is_refused(
    change: Callable[[], None], bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F7: nothing is sent, and the session is as it was."""
    record(Note, "a")
    change()

    refuse_to_flush(bus, "commit them or roll them back")

    assert broker.calls == []
    db.session.commit()
    assert db.session.scalars(select(Tag.name)).all() == ["mine"]


def test_changed_and_deleted_objects_are_uncommitted_changes(
    bus: SignalBus, record: Record
) -> None:
    """F7."""
    (note,) = record(Note, "a")

    note.text = "b"
    refuse_to_flush(bus, "uncommitted changes")
    db.session.rollback()

    db.session.delete(note)
    refuse_to_flush(bus, "uncommitted changes")
    db.session.rollback()

    assert bus.flushmany() == 1


def test_a_transaction_that_has_only_read_is_ended_quietly(
    bus: SignalBus, record: Record
) -> None:
    """F7: the caller sees fresh rows afterwards."""
    (note,) = record(Note, "a")
    assert note.text == "a"
    db.session.execute(text("SELECT 1"))
    assert db.session().in_transaction()

    bus.flushmany()

    assert db.session.get(Note, 1) is None
    assert db.session.scalars(select(Note.text)).all() == []


def test_one_pooled_connection_is_enough(make_app: AppFactory) -> None:
    """F12: the session's own is given back first."""
    app = make_app(pool_size=1, max_overflow=0, pool_timeout=1)
    with app.app_context():
        db.session.add_all(Note(text=str(i)) for i in range(7))
        db.session.commit()
        db.session.execute(text("SELECT 1"))
        app.extensions["broker"].meanwhile = lambda text: db.session.add(Tag(name=text))

        assert app.extensions["signalbus"].flushmany() == 7
        pool: Any = db.engine.pool
        assert pool.checkedout() == 0


def test_no_transaction_is_open_after_a_flush(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F12, F8: even after a failed one."""
    record(Note, "a")
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany()
    assert not db.session().in_transaction()

    broker.recover()
    bus.flushmany()
    assert not db.session().in_transaction()


def test_objects_of_the_session_survive_a_flush(
    app: Flask, bus: SignalBus, record: Record
) -> None:
    """F7: they are expired, as after any commit."""
    account = Account(id=1, value=5)
    db.session.add(account)
    db.session.commit()
    record(Note, "a")

    bus.flushmany()

    assert account.value == 5


def test_an_engine_that_shares_a_pool_hides_no_writes(make_app: AppFactory) -> None:
    """F7: even if it is the first one to be used."""
    app = make_app()
    with app.app_context():
        shared = db.engine.execution_options(logging_token="shared")
        db.session.execute(text("SELECT 1"), bind_arguments={"bind": shared})
        db.session.rollback()
        db.session.execute(insert(Tag).values(name="mine"))

        refuse_to_flush(db.signalbus, "uncommitted changes")


@pytest.mark.once
def test_every_engine_is_watched_however_many_there_were() -> None:
    """F7, A13: even one that lies where a former one was, whose dialect lives on."""
    dialects = []
    for _ in range(100):
        app = Flask("short-lived")
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        db.init_app(app)
        with app.app_context():
            db.session.execute(text("CREATE TABLE t (x INTEGER)"))

            refuse_to_flush(app.extensions["signalbus"], "uncommitted changes")
            db.session.rollback()
            dialects.append(db.engine.dialect)
            db.engine.dispose()
