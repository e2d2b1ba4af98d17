"""Troubles of the server: none of them is blamed on a signal."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from support.broker import Broker
from support.capabilities import (
    ADD_READER,
    AT_COMMIT,
    BE_READ_ONLY,
    DROP_READER,
    GRANT_TO_READER,
    KILL,
    READER,
    READER_PASSWORDS,
    REFUSE_DELETE,
    SESSION_ID,
)
from support.models import Note, Pair, Parcel, Tag, db
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus

TEXTS = [f"{i:02}" for i in range(50)]


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def triggers(url: str, create: list[str], drop: list[str]) -> Iterator[None]:
    """Have the database refuse something for a while."""
    execute(url, *create)
    try:
        yield
    finally:
        execute(url, *drop)


@contextmanager
def before_deletions(do: Callable[[Connection], None]) -> Iterator[None]:
    """Do something before each statement that deletes parcels."""

    def before(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if "DELETE" in statement and "parcel" in statement:
            do(connection)

    event.listen(db.engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", before)


def noted(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as wrong; no traceback is in it twice."""
    assert "During handling" not in caplog.text
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("swpt")
    ]


def flush_in_vain(bus: SignalBus) -> DBAPIError:
    """Flush notes, parcels and pairs; parcels fail."""
    with pytest.raises(DBAPIError) as caught:
        bus.flushmany()
    return caught.value


@contextmanager
def invalidations(engine: Engine) -> Iterator[list[object]]:
    """Note which connections are thrown away."""
    thrown_away: list[object] = []
    listener = lambda connection, *_: thrown_away.append(connection)  # noqa: E731
    event.listen(engine, "invalidate", listener)
    try:
        yield thrown_away
    finally:
        event.remove(engine, "invalidate", listener)


@pytest.mark.requires("row_locks")
def test_a_missing_right_is_one_error_of_its_model(
    app: Flask, bus: SignalBus, record: Record, tables: str, dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """F20: the other models are flushed."""
    record(Parcel, *TEXTS)
    record(Pair, "good")
    name = make_url(tables).database
    rights = ["SELECT ON note", "SELECT ON ticket", "SELECT, UPDATE ON parcel"]
    rights += ["SELECT ON posted_letter", "SELECT, UPDATE, DELETE ON pair"]
    grants = [GRANT_TO_READER[dialect_name].format(right) for right in rights]
    with triggers(
        tables,
        [*(each.format(name) for each in ADD_READER[dialect_name]), *grants],
        [each.format(name) for each in DROP_READER[dialect_name]],
    ):
        password = READER_PASSWORDS.get(dialect_name, "")
        url = make_url(tables).set(username=READER, password=password)
        reader = Flask("reader")
        reader.config["SQLALCHEMY_DATABASE_URI"] = url
        reader.extensions["broker"] = Broker()
        db.init_app(reader)
        with reader.app_context():
            try:
                error = flush_in_vain(reader.extensions["signalbus"])
            finally:
                db.session.remove()
                db.engine.dispose()

    assert "parcel" in str(error)
    assert reader.extensions["broker"].calls == [["good"]]
    assert noted(caplog) == ["Failed to flush Parcel."]


@pytest.mark.parametrize("is_noticed", [False, True], ids=["read-only", "demoted"])
def test_a_server_that_takes_no_writes_is_one_error(
    is_noticed: bool,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20: and the next pass finds the new one by the same address."""
    record(Parcel, *TEXTS)
    caplog.clear()

    def demote(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(BE_READ_ONLY[dialect_name])
        cursor.close()
        # psycopg changes no isolation level within a transaction.
        connection.commit()

    with db.engine.connect() as connection:
        connection.exec_driver_sql(BE_READ_ONLY[dialect_name])
        connection.commit()
    if not is_noticed:
        event.listen(db.engine, "connect", demote)

    with invalidations(db.engine) as thrown_away:
        flush_in_vain(bus)

    assert broker.calls == []
    assert noted(caplog) == ["Failed to flush Parcel."]
    if not is_noticed:
        event.remove(db.engine, "connect", demote)
    if not thrown_away:
        # A file cannot be promoted.
        assert dialect_name == "sqlite"
        db.engine.dispose()
    if is_noticed:
        assert bus.flushmany() == 50


@pytest.mark.parametrize("model", [Note, Parcel, Pair])
def test_a_missing_table_is_one_error_of_its_model(
    model: Any,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20."""
    others = [other for other in (Note, Parcel, Pair) if other is not model]
    for other in others:
        record(other, other.__name__)
    if model is Parcel:
        db.metadata.tables["receipt"].drop(db.engine)
    model.__table__.drop(db.engine)

    try:
        flush_in_vain(bus)
    finally:
        db.metadata.create_all(db.engine)

    assert sorted(broker.sent) == sorted(other.__name__ for other in others)
    assert noted(caplog) == [f"Failed to flush {model.__name__}."]


@pytest.mark.requires("row_locks")
def test_a_missing_column_is_one_error_of_its_model(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20: a migration is still to come."""
    record(Pair, *TEXTS)
    record(Note, "good")
    execute(tables, "ALTER TABLE pair RENAME COLUMN text TO old")

    try:
        flush_in_vain(bus)
    finally:
        execute(tables, "ALTER TABLE pair RENAME COLUMN old TO text")

    assert broker.sent == ["good"]
    assert noted(caplog) == ["Failed to flush Pair."]


@pytest.mark.requires("row_locks")
def test_a_full_disk_is_one_error(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20."""
    record(Parcel, *TEXTS)
    record(Pair, "good")
    refuse = REFUSE_DELETE[dialect_name]
    create = [each.format(table="parcel", when="1 = 1", code=refuse.full) for each in
              refuse.create]  # fmt: skip
    drop = [each.format(table="parcel") for each in refuse.drop]

    with triggers(tables, create, drop):
        flush_in_vain(bus)

    assert broker.calls == [["good"]]
    assert noted(caplog) == ["Failed to flush Parcel."]
    assert bus.flushmany() == 50


def test_a_row_that_a_trigger_refuses_is_found_out(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    tables: str,
    dialect_name: str,
) -> None:
    """F9, F20: an error of the database need not be the server's."""
    record(Parcel, *"abcde")
    refuse = REFUSE_DELETE[dialect_name]
    create = [each.format(table="parcel", when="old.text = 'c'", code=refuse.row)
              for each in refuse.create]  # fmt: skip
    drop = [each.format(table="parcel") for each in refuse.drop]

    with triggers(tables, create, drop):
        flush_in_vain(bus)

    assert sorted(broker.sent) == list("abde")
    assert pending(Parcel) == ["c"]


@pytest.mark.requires("row_locks")
def test_a_connection_that_is_lost_while_claiming_is_one_error(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20: the next model has a connection of its own."""
    record(Parcel, *TEXTS)
    record(Pair, "good")

    def kill(connection: Connection) -> None:
        if not killed:
            cursor = connection.connection.cursor()
            cursor.execute(SESSION_ID[dialect_name])
            killed.append(cursor.fetchone()[0])  # type: ignore[index]
            cursor.close()
            execute(tables, KILL[dialect_name].format(killed[0]))

    killed: list[int] = []
    with before_deletions(kill):
        error = flush_in_vain(bus)

    assert error.connection_invalidated
    assert broker.calls == [["good"]]
    assert noted(caplog).count("Failed to flush Parcel.") == 1
    assert len(noted(caplog)) <= 2
    assert bus.flushmany() == 50


@pytest.mark.requires("row_locks")
def test_a_connection_that_is_lost_while_sending_is_one_error(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20, F4: what has been sent is sent again, by the next pass."""
    record(Parcel, *TEXTS)
    record(Pair, "good")

    def kill(_: str) -> None:
        if broker.sent == ["good", "00"]:
            session_id = db.session.scalar(text(SESSION_ID[dialect_name]))
            execute(tables, KILL[dialect_name].format(session_id))

    broker.meanwhile = kill
    flush_in_vain(bus)

    broker.meanwhile = lambda _: None
    assert broker.sent == ["good", "00", "01", "02"]
    assert len(noted(caplog)) <= 2
    assert bus.flushmany() == 50


def tags() -> list[str]:
    return sorted(db.session.scalars(select(Tag.name)))


@pytest.mark.requires("late_constraints")
@pytest.mark.parametrize("code", ["53100", "58030", "40001", "P0001"])
def test_a_commit_that_fails_is_one_error_and_nothing_is_sent_again_at_once(
    code: str,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    tables: str,
    pending: Pending,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20, F4: what was written is gone, and the signals stay."""
    record(Parcel, *TEXTS)
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))
    create = [each.format(code=code, when="new.name = '04'") for each in AT_COMMIT]

    with triggers(tables, create, ["DROP TRIGGER late ON tag"]):
        flush_in_vain(bus)

    assert broker.calls == [TEXTS[:3], TEXTS[3:6]]
    assert noted(caplog) == ["Failed to flush Parcel."]
    assert pending(Parcel) == TEXTS[3:]
    assert tags() == TEXTS[:3]
    assert bus.flushmany() == 47


@pytest.mark.requires("late_constraints")
def test_a_constraint_that_is_violated_at_the_commit_is_blamed_on_one_signal(
    bus: SignalBus, broker: Broker, record: Record, tables: str, pending: Pending
) -> None:
    """F9, F20: the others leave."""
    record(Parcel, *TEXTS)
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))
    create = [each.format(code="23514", when="new.name = '04'") for each in AT_COMMIT]

    with (
        triggers(tables, create, ["DROP TRIGGER late ON tag"]),
        pytest.raises(IntegrityError),
    ):
        bus.flushmany()

    assert pending(Parcel) == ["04"]
    assert tags() == sorted(set(TEXTS) - {"04"})


@pytest.mark.parametrize("model", [Note, Parcel])
def test_a_pass_that_fails_writes_as_much_for_many_signals_as_for_few(
    model: Any,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F9, F20: about ten lines, each traceback at most once."""
    record(model, *(f"{i:04}" for i in range(300)))
    broker.go_down()

    with pytest.raises(Exception, match="0000"):
        bus.flushmany()

    assert len(noted(caplog)) <= 13
    assert caplog.text.count("Traceback") < len(noted(caplog))


def test_an_error_of_the_database_says_how_to_find_out_more(
    make_db: DBFactory,
) -> None:
    """C1: what a new user meets first is that the table is missing."""
    db = make_db()

    class Unmade(db.Model):  # type: ignore[name-defined, misc]
        id = Column(Integer, primary_key=True)

        @classmethod
        def send_signalbus_message(cls, signal: object) -> None: ...

    with pytest.raises(DBAPIError) as caught:
        db.signalbus.flushmany()

    assert caught.value.__notes__[0] == (
        "'flask signalbus check --database Unmade' tells whether the table is there,"
        " and what else a flush needs."
    )
