"""What is known to have been sent is not sent again when the rest of a burst fails."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event, orm

from support.broker import Broker, BrokerRefused
from support.broker import broker as current_broker
from support.models import Note, Parcel, Sends, Tag, db
from support.own_models import OwnModel, model_of
from support.rivals import Rival
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus, SignalsRefused


@pytest.fixture
def burst_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, int], None]:
    def burst_of(model: Any, count: int) -> None:
        monkeypatch.setattr(model, "signalbus_burst_count", count)

    return burst_of


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> Callable[..., None]:
    """Return what makes the bulk sender of parcels name those that are refused."""

    def refusing(*texts: str, name: Callable[[list[Any]], list[Any]] = list) -> None:
        def send(signals: list[Any]) -> None:
            refused = [signal for signal in signals if signal.text in texts]
            broker.take(signal for signal in signals if signal not in refused)
            if refused:
                raise SignalsRefused(name(refused))

        def send_one(signal: Any) -> None:
            send([signal])

        monkeypatch.setattr(Parcel, "send_signalbus_messages", send)
        monkeypatch.setattr(Parcel, "send_signalbus_message", send_one)

    return refusing


@pytest.mark.parametrize("position", [0, 1, 50, 98, 99])
def test_the_signals_before_a_failing_one_are_sent_once(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    burst_of: Callable[[Any, int], None],
    position: int,
) -> None:
    """F9: by the single sender; they are counted, and the pass goes on after them."""
    burst_of(Note, 100)
    texts = [f"{i:03}" for i in range(120)]
    record(Note, *texts)
    broker.refuse(texts[position])

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])
    broker.recover()
    rest = bus.flushmany([Note])

    assert rest == 1
    assert sorted(broker.sent) == texts
    assert broker.sent[-1] == texts[position]
    assert pending(Note) == []


@pytest.mark.parametrize(
    "refused", ["a", "c", "ac", "b", "abc", "d"], ids=lambda refused: f"{refused}"
)
def test_all_but_the_refused_ones_are_sent_once(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    refusing: Callable[..., None],
    refused: str,
) -> None:
    """F9: a bulk sender has named them."""
    record(Parcel, *"abcd")
    refusing(*refused)

    with pytest.raises(SignalsRefused):
        bus.flushmany([Parcel])

    assert pending(Parcel) == list(refused)
    assert sorted(broker.sent) == sorted(set("abcd") - set(refused))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda refused: [*refused, object()], id="a stranger too"),
        pytest.param(lambda refused: [tuple(refused[0])], id="a copy"),
    ],
)
def test_a_sender_that_names_what_it_was_not_given_says_nothing(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    refusing: Callable[..., None],
    name: Callable[[list[Any]], list[Any]],
) -> None:
    """F9: its burst is tried one by one as a whole, so that nothing is lost."""
    record(Parcel, *"abc")
    refusing("b", name=name)

    with pytest.raises(SignalsRefused):
        bus.flushmany([Parcel])

    assert pending(Parcel) == ["b"]
    assert sorted(broker.sent) == ["a", "a", "c", "c"]


def test_a_single_sender_says_nothing_of_the_signals_after_it(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9, F4: it has not been asked to send them yet."""
    rows = record(Note, *"abc")
    broker.refused = lambda text: text == "a"

    def refuse(text: str) -> None:
        if text == "a":
            raise SignalsRefused([rows[0]])

    broker.meanwhile = refuse

    with pytest.raises(SignalsRefused):
        bus.flushmany([Note])

    assert broker.sent == ["b", "c"]
    assert pending(Note) == ["a"]


@pytest.mark.once
def test_a_refusal_must_name_something() -> None:
    """F9: a sender that has been confirmed everything returns."""
    with pytest.raises(ValueError, match="return if all of them were confirmed"):
        SignalsRefused([])


def add() -> None:
    db.session.add(Tag(name="x"))


def add_and_flush() -> None:
    add()
    db.session.flush()


def insert() -> None:
    db.session.execute(sa.insert(Tag).values(name="x"))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(add, id="pending"),
        pytest.param(add_and_flush, id="flushed"),
        pytest.param(insert, id="statement"),
    ],
)
def test_if_the_sender_has_written_all_are_sent_again(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    write: Callable[[], object],
) -> None:
    """F9, F6: what it has written was rolled back, and is written once in the end."""
    record(Note, *"abc")

    def meanwhile(text: str) -> None:
        if text == "a":
            write()

    broker.meanwhile = meanwhile
    broker.refuse("c")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert broker.sent == ["a", "b", "a", "b"]
    assert pending(Note) == ["c"]
    assert db.session.scalars(sa.select(Tag.name)).all() == ["x"]


def test_a_sender_that_has_only_read_does_not_send_again(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F9, F6: nothing of its own was rolled back."""
    record(Note, *"abc")
    broker.meanwhile = lambda text: db.session.scalars(sa.select(Tag.name)).all()
    broker.refuse("c")

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert broker.sent == ["a", "b"]


def test_when_the_deletion_fails_nothing_is_lost(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9, F4: at least once."""
    record(Note, *"abc")
    broker.refuse("c")
    deletions: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def fail(connection: object, cursor: object, statement: str, *_: object) -> None:
        deletions.extend([statement] if "DELETE" in statement else [])
        if len(deletions) == 2:
            raise ZeroDivisionError

    try:
        with pytest.raises(BrokerRefused):
            bus.flushmany([Note])
    finally:
        event.remove(db.engine, "before_cursor_execute", fail)
    broker.recover()
    bus.flushmany([Note])

    assert set(broker.sent) == set("abc")
    assert pending(Note) == []


def test_a_lost_race_of_the_deletion_is_retried(
    bus: SignalBus, broker: Broker, record: Record, lost_races: Any
) -> None:
    """F9, F10: the signals are still sent once."""
    record(Note, *"abc")
    broker.refuse("c")
    broker.meanwhile = lambda text: lost_races.at_deletions(2)

    with pytest.raises(BrokerRefused):
        bus.flushmany([Note])

    assert broker.sent == ["a", "b"]


def test_a_signal_that_has_taken_the_key_of_a_sent_one_is_not_deleted(
    app: Flask, bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9, F4: as on SQLite, which uses keys again; it would be lost otherwise."""
    first, *_ = record(Note, *"abc")
    key = first.id
    db.session.commit()
    broker.refuse("c")
    replaced: list[str] = []

    @event.listens_for(db.engine, "rollback")
    def replace(connection: sa.Connection) -> None:
        if not replaced and broker.sent:
            replaced.append("a")
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            driver.rollback()
            cursor.execute(f"UPDATE note SET text = 'new' WHERE id = {key}")
            driver.commit()

    try:
        with pytest.raises(BrokerRefused):
            bus.flushmany([Note])
    finally:
        event.remove(db.engine, "rollback", replace)
    broker.recover()
    bus.flushmany([Note])

    assert replaced == ["a"]
    assert "new" in broker.sent
    assert pending(Note) == []


@pytest.mark.requires("skip_locked")
def test_what_another_flusher_has_claimed_meanwhile_is_left_to_it(
    app: Flask,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    rival: Rival,
) -> None:
    """F9: nobody waits for it, and it is not deleted under its hands."""
    first, *_ = record(Note, *"abc")
    claim = f"SELECT id FROM note WHERE id = {first.id} FOR UPDATE"
    db.session.commit()
    broker.refuse("c")
    claimed: list[object] = []

    @event.listens_for(db.engine, "begin")
    def let_the_other_claim(connection: object) -> None:
        if broker.sent and not claimed:
            claimed.append(rival.start(claim).result(30))

    try:
        with pytest.raises(BrokerRefused):
            bus.flushmany([Note])
    finally:
        event.remove(db.engine, "begin", let_the_other_claim)
    rival.rollback()

    assert broker.sent == ["a", "b"]
    assert pending(Note) == ["a", "c"]


class Unequal:
    """A value that is not equal to anything, as a NaN is."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("column_type", "value", "sent_twice"),
    [
        pytest.param(sa.Uuid(), uuid.UUID(int=7), False, id="uuid"),
        pytest.param(sa.LargeBinary(16), b"\x00\xff", False, id="binary"),
        pytest.param(sa.Float(), 0.1, False, id="float"),
        pytest.param(sa.PickleType(), {"a": [1]}, False, id="pickle"),
        pytest.param(sa.PickleType(), Unequal(), True, id="not comparable"),
    ],
)
def test_rows_of_any_type_are_recognized(
    make_db: DBFactory, column_type: Any, value: Any, sent_twice: bool
) -> None:
    """F9, S6: what cannot be compared is rather sent again than lost."""
    own_db = make_db()

    @model_of(own_db)
    class Crate(Sends, OwnModel):
        signalbus_burst_count = 3
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))
        value: orm.Mapped[Any] = orm.mapped_column(column_type)

    own_db.create_all()
    own_db.session.add_all([Crate(text=text, value=value) for text in "abc"])
    own_db.session.commit()
    crates = current_broker()
    crates.refuse("c")

    with pytest.raises(BrokerRefused):
        own_db.signalbus.flushmany()

    assert crates.sent == (["a", "b", "a", "b"] if sent_twice else ["a", "b"])
    assert own_db.session.scalars(sa.select(Crate.text)).all() == ["c"]
