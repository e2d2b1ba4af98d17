"""Errors for which no signal is to blame: a pass ends at once, and says so once."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event, orm
from sqlalchemy.exc import DBAPIError

from support.broker import Broker
from support.capabilities import KILL, SESSION_ID
from support.models import Note, Parcel, Sends, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus
from swpt_pythonlib.flask_signalbus._dialects import is_server_fault, traits_of

#: What makes the sessions of a connection read-only, and back.
READ_ONLY = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    ),
    "mysql": ("SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF"),
    "mariadb": ("SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF"),
}


def errors_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.levelno >= logging.ERROR]


def test_a_missing_table_ends_the_pass_with_one_error(
    make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F20: and the signals of other models are sent."""
    own_db = make_db()

    @model_of(own_db)
    class Missing(Sends, OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    @model_of(own_db)
    class Present(Sends, OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

    own_db.metadata.tables["present"].create(own_db.engine)
    own_db.session.add(Present(text="a"))
    own_db.session.commit()

    with pytest.raises(DBAPIError, match="missing"):
        own_db.signalbus.flushmany()

    assert errors_in(caplog) == ["Failed to flush Missing."]
    assert own_db.session.scalars(sa.select(Present.id)).all() == []
    assert Missing is not None


@pytest.fixture
def failing(app: Flask) -> Iterator[Callable[[str, BaseException], list[str]]]:
    """Return what makes statements fail that begin with a word."""
    listeners: list[Any] = []

    def failing(word: str, error: BaseException) -> list[str]:
        failed: list[str] = []

        def fail(cursor: Any, statement: str, *_: Any) -> None:
            if word in statement:
                failed.append(statement)
                raise error

        event.listen(db.engine, "do_execute", fail)
        listeners.append(fail)
        return failed

    yield failing

    for listener in listeners:
        event.remove(db.engine, "do_execute", listener)


def driver_error(code: Any) -> Exception:
    """Return an error of the driver in use, as it is given the code of the server."""
    module: Any = db.engine.dialect.loaded_dbapi
    error: Exception = module.OperationalError(code, "no")
    for name in ("sqlite_errorcode", "sqlstate"):
        try:
            setattr(error, name, code)
        except (AttributeError, TypeError):
            continue
    return error


#: Codes that need more than a statement to provoke: full disks, nodes, rights.
CODES: dict[str, list[Any]] = {
    "sqlite": [8, 13, 10, 14, 264],
    "postgresql": ["25006", "53100", "42501", "57P01", "58030"],
    "mysql": [1290, 1836, 1047, 1142, 1180, 1021],
    "mariadb": [1290, 1836, 1047, 1142, 1180, 1021],
}


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for name in CODES for code in CODES[name]]
)
def test_what_the_server_is_to_blame_for_is_known_by_its_code(
    name: str, code: Any
) -> None:
    """F20: whatever class of error a driver uses."""

    class DriverError(Exception):
        errno = sqlite_errorcode = sqlstate = code

    dialect: Any = sa.make_url(f"{name}://").get_dialect()
    error = DBAPIError("DELETE", {}, DriverError(code))

    assert is_server_fault(error, traits_of(dialect))
    assert not is_server_fault(DriverError(code), traits_of(dialect))


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "code"),
    [("sqlite", 19), ("postgresql", "P0001"), ("mysql", 1644), ("mariadb", 1451)],
)
def test_what_a_row_may_be_to_blame_for_is_no_fault_of_the_server(
    name: str, code: Any
) -> None:
    """F20, F9: a trigger or a foreign key may refuse one row."""

    class DriverError(Exception):
        errno = sqlite_errorcode = sqlstate = code

    dialect: Any = sa.make_url(f"{name}://").get_dialect()
    error = DBAPIError("DELETE", {}, DriverError(code))

    assert not is_server_fault(error, traits_of(dialect))


@pytest.mark.once
def test_a_fault_of_the_server_takes_no_burst_apart(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    failing: Callable[[str, BaseException], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20: one attempt, one error, and the next pass works."""
    record(Note, *(f"{i:03}" for i in range(100)))
    failed = failing("DELETE FROM note", driver_error(13))

    with pytest.raises(DBAPIError):
        bus.flushmany([Note])

    assert len(failed) == 1
    assert errors_in(caplog) == ["Failed to flush Note."]
    assert broker.sent == []
    assert len(pending(Note)) == 100


@pytest.mark.requires("read_only")
def test_a_server_that_has_become_read_only_ends_the_pass(
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F20: nothing is sent; the connection is thrown away, and the next pass works."""
    record(Note, *"abcdef")
    db.session.remove()
    on, off = READ_ONLY[dialect_name]
    with db.engine.connect() as connection:
        connection.exec_driver_sql(on)
        connection.commit()
        demoted: Any = connection.connection.driver_connection

    with pytest.raises(DBAPIError):
        bus.flushmany([Note])
    with db.engine.connect() as connection:
        is_another = connection.connection.driver_connection is not demoted
        connection.exec_driver_sql(off)
        connection.commit()
    errors = errors_in(caplog)
    sent_before = list(broker.sent)
    count = bus.flushmany([Note])

    assert is_another
    assert errors == ["Failed to flush Note."]
    assert sent_before == []
    assert count == 6


@pytest.mark.requires("row_locks")
@pytest.mark.parametrize("when", ["claiming", "sending"])
def test_a_killed_connection_ends_the_pass(
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    dialect_name: str,
    tables: str,
    when: str,
) -> None:
    """F20: the burst in hand may be sent twice, and the next pass works."""
    record(Note, *"abcdef")
    db.session.remove()
    killer = sa.create_engine(tables, isolation_level="AUTOCOMMIT")
    killed: list[int] = []

    def kill(connection: Any) -> None:
        if not killed:
            cursor = connection.connection.driver_connection.cursor()
            cursor.execute(SESSION_ID[dialect_name])
            killed.append(cursor.fetchone()[0])
            with killer.connect() as other:
                other.exec_driver_sql(KILL[dialect_name].format(killed[0]))

    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement:
            kill(connection)

    if when == "claiming":
        event.listen(db.engine, "before_cursor_execute", before)
    else:
        broker.meanwhile = lambda text: kill(db.session.connection())
    try:
        with pytest.raises(DBAPIError):
            bus.flushmany([Note])
    finally:
        if when == "claiming":
            event.remove(db.engine, "before_cursor_execute", before)
    first = list(broker.sent)
    bus.flushmany([Note])
    killer.dispose()

    assert first == ([] if when == "claiming" else list("abc"))
    assert set(broker.sent) == set("abcdef")
    assert pending(Note) == []


@pytest.mark.requires("sqlstates")
@pytest.mark.parametrize(
    ("code", "times"), [("53100", 1), ("58030", 1), ("40001", 1), ("23503", 2)]
)
def test_what_is_refused_at_the_commit_is_not_sent_again_at_once(
    make_db: DBFactory, code: str, times: int
) -> None:
    """F20, F10: unless a constraint is violated, for which one row may be to blame."""
    own_db = make_db()
    sent: list[str] = []

    @model_of(own_db)
    class Letter(OwnModel):
        signalbus_burst_count = 3
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

        @classmethod
        def send_signalbus_message(cls, obj: Any) -> None:
            sent.append(obj.text)
            own_db.session.add(Copy(text=obj.text))

    @model_of(own_db)
    class Copy(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

    own_db.create_all()
    own_db.session.execute(
        sa.text(
            f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN RAISE USING ERRCODE = ''{code}''; END'"
        )
    )
    own_db.session.execute(
        sa.text(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON copy"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    )
    own_db.session.add_all([Letter(text=text) for text in "abc"])
    own_db.session.commit()

    with pytest.raises(DBAPIError):
        own_db.signalbus.flushmany()

    assert [sent.count(text) for text in "abc"] == [times] * 3
    assert len(own_db.session.scalars(sa.select(Letter)).all()) == 3


def test_each_error_is_logged_with_its_own_traceback_only(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F18: what came before it is in a line of its own."""
    record(Parcel, *"abc")
    broker.go_down()

    with pytest.raises(Exception, match="a") as caught:
        bus.flushmany([Parcel])

    assert caught.value.__context__ is None
    assert "During handling" not in caplog.text
