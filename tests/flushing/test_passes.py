"""What a flush sends, in which order and transaction, and what it leaves behind."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import (
    Column,
    Integer,
    String,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from support.broker import Broker, BrokerRefused
from support.capabilities import KILL, SESSION_ID
from support.lost_races import LostRaces
from support.models import Account, Note, Pair, Parcel, Sends, SendsMany, Tag, db
from support.signatures import AppFactory, DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import DBSerializationError, SignalBus


def test_flushmany_sends_what_is_pending_and_returns_how_many(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F2: documented."""
    record(Note, "a", "b", "c", "d")
    record(Parcel, "e")

    sent = bus.flushmany()

    assert (sent, sorted(broker.sent)) == (5, ["a", "b", "c", "d", "e"])
    assert pending(Note) == pending(Parcel) == []


def test_flushing_again_sends_nothing(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F2, F4: what has been sent is gone."""
    record(Note, "a")
    bus.flushmany()

    assert bus.flushmany() == 0
    assert broker.sent == ["a"]


def test_only_the_given_models_are_flushed(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F2: and none at all if none are given."""
    record(Note, "note")
    record(Parcel, "parcel")

    assert bus.flushmany([]) == 0
    assert bus.flushmany([Parcel, Parcel]) == 1
    assert broker.sent == ["parcel"]
    assert pending(Note) == ["note"]


@pytest.mark.parametrize("model", [Note, Parcel, Pair])
def test_signals_are_sent_in_primary_key_order(
    model: Any, bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F3: with one flusher, throughout the pass."""
    record(model, *"abcdefghij")

    bus.flushmany([model])

    assert broker.sent == list("abcdefghij")


def test_the_bulk_sender_gets_bursts_and_a_lone_signal_the_single_one(
    bus: SignalBus, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3, S4: the senders are looked up when the burst is sent."""
    single, bulk = Mock(), Mock()
    monkeypatch.setattr(Parcel, "send_signalbus_message", single)
    monkeypatch.setattr(Parcel, "send_signalbus_messages", bulk)
    record(Parcel, *"abcdefg")

    bus.flushmany()

    bursts = [[obj.text for obj in call.args[0]] for call in bulk.call_args_list]
    assert bursts == [["a", "b", "c"], ["d", "e", "f"]]
    assert all(type(call.args[0]) is list for call in bulk.call_args_list)
    assert [call.args[0].text for call in single.call_args_list] == ["g"]


def test_without_a_bulk_sender_each_signal_is_one_call(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """S4."""
    record(Note, *"abcd")

    bus.flushmany()

    assert broker.calls == [["a"], ["b"], ["c"], ["d"]]


def test_the_object_is_a_row_that_needs_no_database(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """S5: also after the flush."""
    record(Note, "hello")

    bus.flushmany()
    db.session.remove()

    (obj,) = broker.objects
    assert (obj.text, str(obj)) == ("hello", f"({obj.id}, 'hello')")


def test_one_burst_is_one_transaction(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F3: claim, delete, send, commit."""
    record(Parcel, *"abcd")
    commits: list[int] = []
    db.session.commit()

    @event.listens_for(db.session, "after_commit")
    def note_commit(session: Session) -> None:
        commits.append(len(broker.sent))

    try:
        bus.flushmany([Parcel])
    finally:
        event.remove(db.session, "after_commit", note_commit)

    assert commits == [3, 4]


def test_signals_are_deleted_before_they_are_sent(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F3: so that a refused deletion surfaces while nothing is out."""
    record(Note, "a")
    left: list[int | None] = []
    query = select(func.count()).select_from(Note)
    broker.meanwhile = lambda _: left.append(db.session.scalar(query))

    bus.flushmany()

    assert left == [0]


def test_what_a_sender_writes_is_committed_with_the_deletion(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F6."""
    record(Note, "a")
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))

    bus.flushmany()

    assert db.session.scalars(select(Tag.name)).all() == ["a"]


def test_what_a_failing_sender_wrote_vanishes(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F6, F8."""
    record(Note, "a")
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany()

    assert db.session.scalars(select(Tag.name)).all() == []
    assert pending(Note) == ["a"]


def test_an_atomic_block_in_a_sender_joins_the_burst(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F6, A2: it does not commit by itself."""
    record(Note, "a")

    @db.atomic
    def create_tag(name: str) -> None:
        db.session.add(Tag(name=name))

    broker.meanwhile = create_tag
    broker.go_down()
    with pytest.raises(BrokerRefused):
        bus.flushmany()
    assert db.session.scalars(select(Tag.name)).all() == []

    broker.recover()
    bus.flushmany()

    assert db.session.scalars(select(Tag.name)).all() == ["a"]
    assert pending(Note) == []


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


def test_a_sender_whose_body_runs_later_is_an_error(
    bus: SignalBus, record: Record, pending: Pending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F4: it has sent nothing when it returns."""

    def generator(_: Any) -> Any:
        yield

    record(Note, "a")
    monkeypatch.setattr(Note, "send_signalbus_message", generator)

    with pytest.raises(TypeError, match="'Note' is a generator"):
        bus.flushmany()

    assert pending(Note) == ["a"]


def test_a_model_in_place_of_a_list_is_refused(bus: SignalBus, record: Record) -> None:
    """F2: the message says what to pass."""
    record(Parcel, "a")
    wrong: Any = Parcel

    with pytest.raises(TypeError, match=r"takes a list of models.*'\[Parcel\]'"):
        bus.flushmany(wrong)


def test_a_model_of_another_database_is_refused(make_db: DBFactory) -> None:
    """F2, S1: its signals do not lie here."""
    other_db, own_db = make_db(), make_db()

    class Stranger(Sends, other_db.Model):  # type: ignore[misc,name-defined]
        id = sa.Column(sa.Integer, primary_key=True)

    with pytest.raises(RuntimeError, match="'Stranger' is not a signal model of this"):
        own_db.signalbus.flushmany([Stranger])


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


def test_a_savepoint_in_a_sender_is_fine(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F6, F16: releasing it ends nothing."""
    record(Note, "a")

    def write_in_a_savepoint(text: str) -> None:
        with db.session.begin_nested():
            db.session.add(Tag(name=text))

    broker.meanwhile = write_in_a_savepoint

    assert bus.flushmany() == 1
    assert db.session.scalars(select(Tag.name)).all() == ["a"]


def roll_back_beneath() -> None:
    db.session.connection().rollback()
    db.session.execute(sa.select(Note.id))


def commit_and_swallow() -> None:
    try:
        db.session.commit()
    except RuntimeError:
        db.session.rollback()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda: db.session.commit(), id="commit"),
        pytest.param(lambda: db.session.rollback(), id="rollback"),
        pytest.param(lambda: db.session.remove(), id="remove"),
        pytest.param(roll_back_beneath, id="rollback of the connection"),
        pytest.param(commit_and_swallow, id="commit and swallow"),
    ],
)
@pytest.mark.parametrize("model", [Note, Parcel])
def test_a_sender_that_ends_the_transaction_is_told_so(
    model: Any,
    end: Callable[[], None],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
) -> None:
    """F16: and no signal is lost."""
    record(model, *"abcd")
    broker.meanwhile = lambda _: end()

    with pytest.raises(RuntimeError, match=r"session|transaction"):
        bus.flushmany()

    assert pending(model) == ["a", "b", "c", "d"]
    assert len(broker.calls) == 1

    broker.meanwhile = lambda _: None
    assert bus.flushmany() == 4


def test_a_conflict_before_the_send_is_retried_and_sends_once(
    bus: SignalBus, broker: Broker, record: Record, lost_races: LostRaces
) -> None:
    """F10."""
    record(Parcel, *"abcde")

    lost_races.at_deletions(2)

    sent = bus.flushmany([Parcel])

    assert (sent, broker.sent) == (5, list("abcde"))


def test_conflicts_before_the_send_are_retried_a_bounded_number_of_times(
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    lost_races: LostRaces,
) -> None:
    """F10: then the conflict itself is raised."""
    record(Parcel, *"abc")

    lost_races.at_deletions(1000)

    with pytest.raises(DBAPIError):
        bus.flushmany([Parcel])

    assert broker.calls == []
    assert pending(Parcel) == ["a", "b", "c"]
    assert lost_races.lost == app.config["SIGNALBUS_RETRY_POLICY"].attempts


def test_a_sender_may_report_a_conflict(
    bus: SignalBus, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10: DBSerializationError has the burst repeated."""
    record(Note, "a")
    sender = Mock(side_effect=[DBSerializationError, DBSerializationError, None])
    monkeypatch.setattr(Note, "send_signalbus_message", sender)

    assert bus.flushmany() == 1
    assert sender.call_count == 3


def test_a_conflict_at_the_commit_is_not_repeated_by_the_flush(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    lost_races: LostRaces,
) -> None:
    """F10: the signals have been sent; they stay pending, and the caller is told."""
    record(Parcel, *"abc")

    lost_races.at_commits(1)

    with pytest.raises(DBAPIError):
        bus.flushmany([Parcel])

    assert broker.calls == [["a", "b", "c"]]
    assert pending(Parcel) == ["a", "b", "c"]


def test_a_constraint_that_a_sender_violates_fails_its_signal_only(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F6, F9: also when it is violated behind the sender's back."""
    db.session.add(Tag(name="b"))
    db.session.commit()
    record(Parcel, *"abc")
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))

    with pytest.raises(IntegrityError):
        bus.flushmany()

    assert pending(Parcel) == ["b"]


def test_a_pass_ends_although_producers_keep_recording(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F11: what comes after it has begun is left to the next one."""
    record(Note, *"abcd")
    broker.meanwhile = lambda text: db.session.add(Note(text=f"after {text}"))

    assert bus.flushmany() == 4
    assert broker.sent == list("abcd")
    assert pending(Note) == ["after a", "after b", "after c", "after d"]


def test_a_refused_deletion_sends_nothing(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F3: here a deletion that the database refuses."""
    record(Note, "a")

    def refuse(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "DELETE" in statement:
            raise PermissionError("Nobody may delete notes.")

    event.listen(db.engine, "before_cursor_execute", refuse)
    with pytest.raises(PermissionError):
        bus.flushmany()

    assert broker.calls == []
    event.remove(db.engine, "before_cursor_execute", refuse)
    assert pending(Note) == ["a"]


def test_one_pooled_connection_is_enough(make_app: AppFactory) -> None:
    """F12: the session's own is given back first."""
    app = make_app(pool_size=1, max_overflow=0, pool_timeout=1)
    with app.app_context():
        db.session.add_all(Note(text=str(i)) for i in range(7))
        db.session.commit()
        db.session.execute(text("SELECT 1"))
        app.extensions["broker"].meanwhile = lambda text: db.session.add(Tag(name=text))

        assert app.extensions["signalbus"].flushmany() == 7
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_no_transaction_is_open_after_a_flush(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F12, F8: also after a failed one."""
    record(Note, "a")
    broker.go_down()

    with pytest.raises(BrokerRefused):
        bus.flushmany()
    assert not db.session().in_transaction()

    broker.recover()
    bus.flushmany()
    assert not db.session().in_transaction()


def test_each_model_is_logged_once_a_pass_and_no_content_ever(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F18."""
    record(Note, "secret1", "secret2", "secret3", "secret4")
    broker.refuse("secret2")
    caplog.set_level(logging.DEBUG, "swpt_pythonlib")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note, Parcel])

    infos = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert infos == ["Flushing Note.", "Flushing Parcel."]
    assert "secret" not in " ".join(r.getMessage() for r in caplog.records)


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


def test_an_error_that_a_sender_swallowed_does_not_undo_the_deletion_silently(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F4: where it aborts the transaction, the caller is told."""
    record(Note, "a")

    def fail_and_swallow(_: str) -> None:
        with suppress(DBAPIError):
            db.session.execute(text("SELECT nothing FROM nowhere"))

    broker.meanwhile = fail_and_swallow
    try:
        sent = bus.flushmany()
    except DBAPIError:
        sent = 0

    assert len(pending(Note)) == 1 - sent


def test_a_commit_that_passes_by_the_session_is_refused(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F16: no signal is lost by it."""
    record(Parcel, *"abc")

    def commit_and_fail(_: str) -> None:
        db.session.connection().commit()

    broker.meanwhile = commit_and_fail

    with pytest.raises(RuntimeError, match="of 'Parcel' must not commit"):
        bus.flushmany()

    assert pending(Parcel) == ["a", "b", "c"]


def test_a_sender_that_always_reports_a_conflict_is_not_called_for_ever(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F10, F9: a few times, and then its signal is a bad one."""
    record(Parcel, *"abc")

    def lose_with_b(text: str) -> None:
        if text == "b":
            raise DBSerializationError

    broker.meanwhile = lose_with_b

    with pytest.raises(DBSerializationError):
        bus.flushmany()

    assert pending(Parcel) == ["b"]
    assert len(broker.calls) <= 10


def test_a_key_may_have_any_name(
    make_db: DBFactory,
) -> None:
    """S6: also one that the library uses itself."""
    own_db = make_db()
    names = ("place", "limit", "last_0", "only_0", "ctid_")
    columns = {
        name: Column(Integer, primary_key=True, autoincrement=False) for name in names
    }
    model: Any = type(
        "Named", (SendsMany, own_db.Model), {**columns, "text": Column(String(9))}
    )
    own_db.create_all()
    own_db.session.add_all(
        model(text=str(i), **dict.fromkeys(names, i)) for i in range(3)
    )
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == 3


@pytest.mark.requires("row_locks")
def test_a_pass_ends_when_its_connection_is_lost(
    make_app: AppFactory, pending: Pending, tables: str, dialect_name: str
) -> None:
    """F4, F5: also if the sender hides it; a new one would have another level."""
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


def test_an_engine_that_shares_a_pool_hides_no_writes(make_app: AppFactory) -> None:
    """F7: also if it is the first one to be used."""
    app = make_app()
    with app.app_context():
        shared = db.engine.execution_options(logging_token="shared")
        db.session.execute(text("SELECT 1"), bind_arguments={"bind": shared})
        db.session.rollback()
        db.session.execute(insert(Tag).values(name="mine"))

        refuse_to_flush(db.signalbus, "uncommitted changes")


@pytest.mark.once
def test_every_engine_is_watched_however_many_there_were() -> None:
    """F7, A13: also one that lies where a former one was, whose dialect lives on."""
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
