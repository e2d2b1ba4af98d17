"""One burst is one transaction: it deletes, sends and commits, in this order."""

from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from support.broker import Broker
from support.models import Note, Parcel, db
from support.signatures import Pending, Record
from swpt_pythonlib.flask_signalbus import SignalBus


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
