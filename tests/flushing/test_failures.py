"""What the caller of a flush is told of a failure, and what then stays pending."""

from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import DBAPIError

from support.broker import Broker, BrokerRefused
from support.capabilities import KILL, SESSION_ID
from support.models import Note, Parcel, db
from support.signatures import AppFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus


def test_the_exception_of_a_sender_reaches_the_caller_unchanged(
    bus: SignalBus, record: Record, pending: Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F8: and the signal stays."""
    record(Note, "a")
    error = ConnectionError("The broker is not there.")
    monkeypatch.setattr(Note, "send_signalbus_message", Mock(side_effect=error))

    with pytest.raises(ConnectionError) as caught:
        bus.flushmany()

    assert caught.value is error
    assert pending(Note) == ["a"]


def test_bursts_that_were_committed_before_an_error_stay_committed(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F8."""
    record(Note, *"abcdefg")
    broker.refused = lambda text: text >= "d"

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert pending(Note) == ["d", "e", "f", "g"]
    assert broker.sent == ["a", "b", "c"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_rolls_the_burst_back_and_ends_the_flush(
    interrupt: type[BaseException],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
) -> None:
    """F17."""
    record(Note, "a", "b")
    record(Parcel, "c")
    broker.meanwhile = Mock(side_effect=[None, interrupt])

    with pytest.raises(interrupt):
        bus.flushmany()

    assert pending(Note) == ["a", "b"]
    assert pending(Parcel) == ["c"]
    assert db.session.info.get("signalbus_owner") is None


def end_the_connection() -> None:
    connection: Any = db.session.connection().connection.driver_connection
    connection.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, BrokerRefused])
def test_what_a_sender_raises_arrives_though_nothing_can_be_rolled_back(
    error: type[BaseException], bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F17, F8: as after a restart of the server."""
    record(Note, "a")

    def lose_everything(_: str) -> None:
        end_the_connection()
        raise error

    broker.meanwhile = lose_everything

    with pytest.raises(error):
        bus.flushmany()

    broker.meanwhile = lambda _: None
    assert bus.flushmany() == 1


@pytest.mark.requires("row_locks")
def test_a_pass_ends_when_its_connection_is_lost(
    make_app: AppFactory, pending: Pending, tables: str, dialect_name: str
) -> None:
    """F4, F5: even if the sender hides it; a new one would have another level."""
    app = make_app(isolation_level="AUTOCOMMIT")
    with app.app_context():
        db.session.add_all(Note(text=text) for text in "abcdef")
        db.session.commit()
        engine = create_engine(tables, isolation_level="AUTOCOMMIT")

        def lose_the_connection(_: str) -> None:
            session_id = db.session.execute(text(SESSION_ID[dialect_name])).scalar_one()
            with engine.connect() as connection:
                connection.exec_driver_sql(KILL[dialect_name].format(session_id))
            try:
                db.session.execute(text("SELECT 1"))
            except DBAPIError as error:
                raise BrokerRefused from error

        app.extensions["broker"].meanwhile = lose_the_connection
        with pytest.raises(BrokerRefused):
            db.signalbus.flushmany()

        assert len(app.extensions["broker"].calls) == 1
        assert db.session.scalar(select(func.count()).select_from(Note)) == 6
    engine.dispose()
