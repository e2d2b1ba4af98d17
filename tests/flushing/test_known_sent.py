"""What is known to have been sent is not sent again, though its burst has failed."""

import logging
import os
import random
import signal as signals_of_processes
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Float,
    Integer,
    LargeBinary,
    PickleType,
    String,
    Uuid,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.orm import mapped_column

from support.broker import Broker, BrokerRefused, broker
from support.models import Note, Pair, Parcel, Sends, Tag, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Pending, Record
from swpt_pythonlib.flask_signalbus import (
    DBSerializationError,
    SignalBus,
    SignalsRefused,
)

TEXTS = "abcdefg"


def flush(bus: SignalBus, *models: Any) -> tuple[int, BaseException | None]:
    """Flush; return how many signals left, and the error."""
    try:
        return bus.flushmany(models or None), None
    except BaseException as error:
        return 0, error


def refuse_in_bulk(*refused: str) -> Callable[[Any], None]:
    """Return a bulk sender that takes everything else, and names these."""

    def send(signals: Any) -> None:
        bad = [signal for signal in signals if signal.text in refused]
        broker().calls.append([signal.text for signal in signals])
        broker().sent.extend(s.text for s in signals if s.text not in refused)
        if bad:
            raise SignalsRefused(bad)

    return send


class RefusesSome(Sends):
    """The senders of a broker that confirms each message of a batch."""

    @classmethod
    def send_signalbus_messages(cls, signals: Any) -> None:
        refuse_in_bulk("b")(signals)


@pytest.fixture
def in_bulk(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what has the senders of parcels and pairs refuse signals."""

    def in_bulk(*refused: str) -> None:
        for model in (Parcel, Pair):
            monkeypatch.setattr(
                model, "send_signalbus_messages", refuse_in_bulk(*refused)
            )
        broker.refuse(*refused)

    return in_bulk


@contextmanager
def before_the_settlement(do: Callable[[], object]) -> Iterator[None]:
    """Do something in the moment between the rollback of a burst and what follows."""
    done: list[bool] = []

    def meanwhile(_: Any) -> None:
        if not done:
            done.append(True)
            do()

    event.listen(db.session, "after_rollback", meanwhile)
    try:
        yield
    finally:
        event.remove(db.session, "after_rollback", meanwhile)


def execute_elsewhere(url: str, *statements: str) -> None:
    """Commit statements on a connection of their own."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("position", range(7))
def test_what_was_sent_before_a_single_sender_raised_is_not_sent_again(
    position: int, bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9: wherever in its burst the bad one stands."""
    record(Note, *TEXTS)
    bad = TEXTS[position]
    broker.refuse(bad)

    flush(bus)

    assert sorted(broker.sent) == sorted(set(TEXTS) - {bad})
    assert pending(Note) == [bad]


def test_of_fifty_that_were_sent_none_is_sent_again(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9."""
    monkeypatch.setattr(Note, "signalbus_burst_count", 100)
    texts = [f"{i:03}" for i in range(100)]
    record(Note, *texts)
    broker.refuse("050")

    flush(bus)

    assert [text for text, count in Counter(broker.sent).items() if count > 1] == []
    assert pending(Note) == ["050"]


@pytest.mark.parametrize("model", [Note, Parcel, Pair])
def test_what_was_refused_is_all_that_is_left_for_the_next_pass(
    model: Any,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    in_bulk: Callable[..., None],
) -> None:
    """F2, F9."""
    record(model, *TEXTS)
    in_bulk("b", "f")
    flush(bus)
    in_bulk()

    assert bus.flushmany() == 2
    assert sorted(broker.sent) == list(TEXTS)


@pytest.mark.parametrize("model", [Parcel, Pair])
@pytest.mark.parametrize("refused", ["a", "c", "ac", "b", "abc", "cg", "abcdefg"])
def test_the_signals_that_a_bulk_sender_does_not_name_are_not_sent_again(
    refused: str,
    model: Any,
    bus: SignalBus,
    broker: Broker,
    record: Record,
    in_bulk: Callable[..., None],
) -> None:
    """F9: the first, the last, several, all."""
    record(model, *TEXTS)
    in_bulk(*refused)

    _, error = flush(bus)

    assert type(error) in (SignalsRefused, BrokerRefused)
    assert sorted(broker.sent) == sorted(set(TEXTS) - set(refused))
    stays = sorted(db.session.scalars(select(model.text)))
    assert stays == sorted(refused)


class LosesOnce:
    """A sender's own race, for one of the signals."""

    def __init__(self, text: str) -> None:
        self._text: str | None = text

    def __call__(self, text: str) -> None:
        if text == self._text:
            self._text = None
            raise DBSerializationError


def a_stranger(signals: Any) -> list[Any]:
    return [object()]


def a_copy(signals: Any) -> list[Any]:
    return [tuple(signals[0])]


def one_and_a_stranger(signals: Any) -> list[Any]:
    return [signals[0], "b"]


@pytest.mark.parametrize("named", [a_stranger, a_copy, one_and_a_stranger])
def test_who_names_what_is_no_signal_of_the_burst_says_nothing(
    named: Callable[[Any], list[Any]],
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: all of the burst is sent again, rather than lost."""

    def send(signals: Any) -> None:
        raise SignalsRefused(named(signals))

    monkeypatch.setattr(Parcel, "send_signalbus_messages", send)
    record(Parcel, *"abc")

    _, error = flush(bus)

    assert isinstance(error, SignalsRefused)
    assert broker.sent == ["a", "b", "c"]
    assert pending(Parcel) == []


def test_who_names_a_signal_twice_names_it_once(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9."""

    def send(signals: Any) -> None:
        raise SignalsRefused([signals[0], signals[0]])

    monkeypatch.setattr(Parcel, "send_signalbus_messages", send)
    record(Parcel, *"abc")

    flush(bus)

    assert broker.sent == ["a"]


@pytest.mark.once
def test_nothing_refused_is_a_mistake_of_the_sender() -> None:
    """F9: it must return then."""
    with pytest.raises(ValueError, match="return if all of them were confirmed"):
        SignalsRefused([])


def test_an_empty_list_of_refused_signals_loses_nothing(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: the sender has failed with another error; it says nothing."""

    def send(signals: Any) -> None:
        raise SignalsRefused([])

    monkeypatch.setattr(Parcel, "send_signalbus_messages", send)
    record(Parcel, *"abc")

    _, error = flush(bus)

    assert isinstance(error, ValueError)
    assert broker.sent == ["a", "b", "c"]
    assert pending(Parcel) == []


def test_a_single_sender_knows_nothing_of_the_signals_behind_its_own(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    pending: Pending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F9: even if it raises what a bulk sender would; no signal is lost."""

    def send(signal: Any) -> None:
        if signal.text == "b":
            raise SignalsRefused([signal])
        broker.take([signal])

    monkeypatch.setattr(Note, "send_signalbus_message", send)
    record(Note, *"abc")

    flush(bus)

    assert broker.sent == ["a", "c"]
    assert pending(Note) == ["b"]


def add_a_tag(text: str) -> None:
    db.session.add(Tag(name=text))


def flush_a_tag(text: str) -> None:
    add_a_tag(text)
    db.session.flush()


def insert_a_tag(text: str) -> None:
    db.session.execute(insert(Tag).values(name=text))


def insert_in_a_savepoint(text: str) -> None:
    with db.session.begin_nested():
        add_a_tag(text)


def modify_a_tag(text: str) -> None:
    tag = db.session.scalars(select(Tag).where(Tag.name == f"old {text}")).one()
    tag.name = text


WRITES = [add_a_tag, flush_a_tag, insert_a_tag, insert_in_a_savepoint, modify_a_tag]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("model", [Note, Parcel])
def test_who_has_written_sends_again_what_it_has_written_for(
    model: Any,
    write: Callable[[str], None],
    bus: SignalBus,
    record: Record,
    pending: Pending,
    in_bulk: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F6, F9: the rollback has taken its writes; each is there once in the end."""
    db.session.add_all(Tag(name=f"old {text}") for text in "abc")
    db.session.commit()
    record(model, *"abc")
    in_bulk("c")
    send_many = Parcel.send_signalbus_messages

    def write_and_send(signals: Any) -> None:
        for signal in signals:
            write(signal.text)
        send_many(signals)

    monkeypatch.setattr(Parcel, "send_signalbus_messages", write_and_send)
    broker().meanwhile = write

    flush(bus)

    names = set(db.session.scalars(select(Tag.name)))
    assert names & set("abc") == {"a", "b"}
    assert pending(model) == ["c"]


@pytest.mark.parametrize("model", [Note, Parcel])
def test_writes_that_are_refused_after_the_send_are_not_forgotten(
    model: Any, bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F6, F9: a signal does not leave without what its sender has written."""
    db.session.add(Tag(name="b"))
    db.session.commit()
    record(model, *"abc")
    with db.session.no_autoflush:
        broker.meanwhile = add_a_tag

        flush(bus)

    assert sorted(db.session.scalars(select(Tag.name))) == ["a", "b", "c"]
    assert pending(model) == ["b"]


def test_who_has_only_read_sends_nothing_again(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """F9."""
    record(Note, *"abc")
    broker.meanwhile = lambda _: db.session.scalars(select(Tag.name)).all()
    broker.refuse("c")

    flush(bus)

    assert broker.sent == ["a", "b"]


def test_a_conflict_that_a_sender_reports_repeats_only_what_was_not_sent(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F9, F10: and it is no error if another attempt succeeds."""
    record(Note, *"abc")
    broker.meanwhile = LosesOnce("b")

    assert bus.flushmany() == 3
    assert broker.sent == ["a", "b", "c"]
    assert pending(Note) == []


@pytest.mark.requires("concurrent_writers")
def test_what_another_flusher_has_taken_meanwhile_is_left_to_it(
    bus: SignalBus, broker: Broker, record: Record, tables: str
) -> None:
    """F2, F9: it is gone, and not counted by us; the rest is not sent again."""
    (first, *_) = record(Note, *"abc")
    broker.meanwhile = LosesOnce("c")
    take = f"DELETE FROM note WHERE id = {first.id}"

    with before_the_settlement(lambda: execute_elsewhere(tables, take)):
        assert bus.flushmany() == 2

    assert broker.sent == ["a", "b", "c"]


@pytest.mark.requires("skip_locked")
def test_the_claim_of_another_flusher_is_not_deleted(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending, tables: str
) -> None:
    """F2, F9: it is still there when the other one gives up."""
    ids = [signal.id for signal in record(Note, *"abc")]
    broker.refuse("c")
    engine = create_engine(tables)
    with engine.connect() as other:
        claim = text(f"SELECT id FROM note WHERE id = {ids[0]} FOR UPDATE")
        with before_the_settlement(lambda: other.execute(claim)):
            flush(bus)
        other.rollback()
    engine.dispose()

    assert pending(Note) == ["a", "c"]
    assert broker.sent == ["a", "b"]


@pytest.mark.parametrize("is_like_it", [False, True], ids=["another", "alike"])
@pytest.mark.requires("in_memory")
def test_a_signal_that_has_got_the_key_of_a_sent_one_is_not_deleted_unsent(
    is_like_it: bool, bus: SignalBus, broker: Broker, record: Record, tables: str
) -> None:
    """F4, F9: SQLite uses a key again; the values of the two may be the same."""
    (_, last) = record(Note, "a", "b")
    broker.refuse("b")
    value = "a" if is_like_it else "new"
    another = (
        "DELETE FROM note",
        f"INSERT INTO note (id, text) VALUES ({last.id - 1}, '{value}')",
    )

    with before_the_settlement(lambda: execute_elsewhere(tables, *another)):
        flush(bus)

    assert broker.sent == ["a", value]


def test_a_signal_that_has_changed_since_it_was_sent_is_sent_as_it_is_now(
    bus: SignalBus, broker: Broker, record: Record, tables: str, pending: Pending
) -> None:
    """F4, F9: on any database; those beside it are not sent again."""
    (first, *_) = record(Note, *"abc")
    broker.refuse("c")
    change = f"UPDATE note SET text = 'new' WHERE id = {first.id}"

    with before_the_settlement(lambda: execute_elsewhere(tables, change)):
        flush(bus)

    assert [text for text in broker.sent if text in ("a", "new")] == ["a", "new"]
    assert pending(Note) == ["c"]


def test_a_settlement_that_loses_a_race_is_made_again(
    bus: SignalBus, broker: Broker, record: Record, lost_races: Any
) -> None:
    """F9, F10."""
    record(Note, *"abc")
    broker.refuse("c")

    with before_the_settlement(lambda: lost_races.at_deletions(2)):
        flush(bus)

    assert lost_races.lost == 2
    assert broker.sent == ["a", "b"]


def test_what_can_not_be_settled_is_sent_again(
    bus: SignalBus,
    broker: Broker,
    record: Record,
    lost_races: Any,
    pending: Pending,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F4, F9: at least once; and the log says why."""
    record(Note, *"abc")
    broker.refuse("c")

    with before_the_settlement(lambda: lost_races.at_deletions(8)):
        flush(bus)

    assert broker.sent == ["a", "b", "a", "b"]
    assert pending(Note) == ["c"]
    assert "Failed to delete 2 signals of Note that have been sent." in caplog.messages


_KILLED = """
import os, signal, sys
from sqlalchemy import event
from support.broker import BrokerRefused
from support.models import Note, db
from support.processes import _app

sent = open(sys.argv[2], "a", buffering=1)

class KilledLater:
    def take(self, signals):
        for each in signals:
            if each.text == "c":
                raise BrokerRefused
            print(each.text, file=sent)

with _app(sys.argv[1], None) as app:
    app.extensions["broker"] = KilledLater()
    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    event.listen(db.session, "after_rollback", die)
    db.signalbus.flushmany([Note])
"""


def test_a_process_killed_before_the_settlement_has_lost_nothing(
    bus: SignalBus, broker: Broker, record: Record, tables: str, tmp_path: Path
) -> None:
    """F4, F9: what it had sent is sent again; at least once."""
    record(Note, *"abc")
    sent = tmp_path / "sent"
    program = [sys.executable, "-c", _KILLED, tables, str(sent)]
    path = os.pathsep.join(sys.path)
    killed = subprocess.run(program, env={**os.environ, "PYTHONPATH": path})

    assert killed.returncode == -signals_of_processes.SIGKILL
    assert sent.read_text().split() == ["a", "b"]
    assert bus.flushmany([Note]) == 3
    assert broker.sent == ["a", "b", "c"]


class Opaque:
    """A value that equals nothing, and will not be asked."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("The truth value of this is ambiguous.")

    __hash__ = None  # type: ignore[assignment]


VALUES = {
    "not comparable": (PickleType, Opaque(), 2),
    "equal to nothing": (PickleType, random.Random(), 2),
    "pickled": (PickleType, {"a": [1, (2,)]}, 1),
    "float": (Float, 0.1, 1),
    "nothing": (Float, None, 1),
}


@pytest.mark.parametrize(
    ("type_", "value", "times"), VALUES.values(), ids=VALUES.keys()
)
def test_values_that_can_not_be_compared_are_sent_again_rather_than_lost(
    type_: Any, value: Any, times: int, make_db: DBFactory
) -> None:
    """F4, F9."""
    own_db = make_db()

    @model_of(own_db)
    class Odd(RefusesSome, OwnModel):
        __tablename__ = "odd_value"
        signalbus_burst_count = 3
        id = mapped_column(Integer, primary_key=True)
        text = mapped_column(String(40))
        value = mapped_column(type_)

    own_db.create_all()
    own_db.session.add_all(Odd(text=text, value=value) for text in "abc")
    own_db.session.commit()
    broker().refuse("b")

    flush(own_db.signalbus)

    assert Counter(broker().sent) == {"a": times, "c": times}


def test_what_is_not_a_number_is_known_again(make_db: DBFactory) -> None:
    """F9: though it does not equal itself."""
    own_db = make_db()

    @model_of(own_db)
    class Odd(RefusesSome, OwnModel):
        __tablename__ = "odd_number"
        signalbus_burst_count = 3
        id = mapped_column(Integer, primary_key=True)
        text = mapped_column(String(40))
        value = mapped_column(PickleType)

    own_db.create_all()
    own_db.session.add_all(Odd(text=text, value=float("nan")) for text in "abc")
    own_db.session.commit()
    broker().refuse("b")

    flush(own_db.signalbus)

    assert Counter(broker().sent) == {"a": 1, "c": 1}


KEYS = {
    "BigInteger": (BigInteger, [2**40, 2**40 + 1, 2**41]),
    "Uuid": (Uuid, sorted(uuid.UUID(int=2**127 + i) for i in range(3))),
    "bytes": (LargeBinary(16), [b"\x00\xff", b"\x80", b"\xfe'"]),
    "text": (String(40), ["%a", "b's", "c:d"]),
}


@pytest.mark.parametrize(("type_", "keys"), KEYS.values(), ids=KEYS.keys())
def test_signals_with_any_key_are_deleted_by_it(
    type_: Any, keys: list[Any], make_db: DBFactory, dialect_name: str
) -> None:
    """F9, S6."""
    if isinstance(type_, LargeBinary):
        from sqlalchemy.dialects.mysql import VARBINARY

        type_ = LargeBinary(16).with_variant(VARBINARY(16), "mysql", "mariadb")
    own_db = make_db()

    @model_of(own_db)
    class Keyed(RefusesSome, OwnModel):
        __tablename__ = "keyed"
        signalbus_burst_count = 3
        id = mapped_column(type_, primary_key=True, autoincrement=False)
        text = mapped_column(String(40))

    own_db.create_all()
    own_db.session.add_all(
        Keyed(id=key, text=text) for key, text in zip(keys, "abc", strict=True)
    )
    own_db.session.commit()
    broker().refuse("b")

    flush(own_db.signalbus)

    assert sorted(broker().sent) == ["a", "c"]
    assert own_db.session.scalars(select(Keyed.text)).all() == ["b"]


@pytest.mark.parametrize("model", [Note, Parcel])
def test_one_bad_signal_of_a_burst_has_one_cause_in_the_log(
    model: Any,
    bus: SignalBus,
    record: Record,
    in_bulk: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F9, F18: that of the burst is raised, so the log need not hold its traceback."""
    record(model, *"abc")
    in_bulk("b")

    with caplog.at_level(logging.WARNING):
        flush(bus)

    assert len(caplog.records) == 2
    # The single sender of parcels fails in another line than the bulk sender.
    assert caplog.text.count("Traceback") == (model is Parcel)
