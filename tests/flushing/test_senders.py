"""Which sender gets a burst, what it gets, and what it may do in the transaction."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from support.broker import Broker, BrokerRefused
from support.models import Note, Parcel, Tag, db
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus


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
    """S5: even after the flush."""
    record(Note, "hello")

    bus.flushmany()
    db.session.remove()

    (obj,) = broker.objects
    assert (obj.text, str(obj)) == ("hello", f"({obj.id}, 'hello')")


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


def test_a_constraint_that_a_sender_violates_fails_its_signal_only(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F6, F9: even when it is violated behind the sender's back."""
    db.session.add(Tag(name="b"))
    db.session.commit()
    record(Parcel, *"abc")
    broker.meanwhile = lambda text: db.session.add(Tag(name=text))

    with pytest.raises(IntegrityError):
        bus.flushmany()

    assert pending(Parcel) == ["b"]


def test_an_error_that_a_sender_swallowed_does_not_undo_the_deletion_silently(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """F4, F9: where it aborts the transaction, the caller is told; it has been sent."""
    record(Note, "a")

    def fail_and_swallow(_: str) -> None:
        with suppress(DBAPIError):
            db.session.execute(text("SELECT nothing FROM nowhere"))

    broker.meanwhile = fail_and_swallow
    with suppress(DBAPIError):
        bus.flushmany()

    assert broker.sent == ["a"]
    assert pending(Note) == []


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
