"""Checks that flush the model's table, with recorders for its send methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .._flushable import burst_size
from .._rules import Fault
from .comparing import shortened
from .definition import check
from .failures import Finding, expect
from .harness import BURST, ROWS, Harness
from .outside import Key, listening


@check("bus", why="a message about a change that is not committed yet may be a lie")
def check_nothing_is_sent_before_flush(harness: Harness) -> None:
    """Check that recording a signal sends nothing."""
    with harness.recorder() as recorder:
        harness.record()

    expect(
        not recorder.offered,
        found=f"recording {ROWS} rows called the send methods",
        expected="nothing is sent before the flush",
        hint="does an event listener call the send method?",
    )


@check("bus", why="others would learn of something that never happened")
def check_rolled_back_rows_are_never_sent(harness: Harness) -> None:
    """Check that what was rolled back is not sent, nor what a savepoint took back."""
    session = harness.db.session
    with harness.recorder() as recorder:
        with harness.recording():
            session.add(harness.new_row())
            session.flush()
            session.rollback()
            session.add(harness.new_row())
            session.flush()
            savepoint = session.begin_nested()
            session.add(harness.new_row())
            session.flush()
            savepoint.rollback()
            session.commit()
        count = harness.flush()

    expect(
        count == len(recorder.signals) == 1,
        found=f"{len(recorder.signals)} signals were sent, and {count} reported",
        expected="the one row that was committed",
    )


@check("bus", why="a message would be lost, or sent twice, or miscounted")
def check_flush_sends_each_row_once_and_returns_the_count(harness: Harness) -> None:
    """Check that a flush sends every row exactly once, and returns how many."""
    for bulk in (False, True):
        keys = harness.record()
        with harness.recorder(bulk=bulk) as recorder:
            count = harness.flush()

        expect_sent_once(harness, recorder.signals, keys)
        expect(
            count == ROWS,
            found=f"flushmany returned {count}",
            expected=f"{ROWS}, the number of signals",
        )


@check("bus", why="a row that stays is sent again by every later flush")
def check_flush_empties_the_table(harness: Harness) -> None:
    """Check that a flush leaves no row behind, so that the next one sends nothing."""
    harness.record()
    with harness.recorder() as recorder:
        harness.flush()
        harness.expect_pending([], when="after the flush")
        recorder.accepted.clear()
        count = harness.flush()

    expect(
        count == 0 and not recorder.signals,
        found=f"the second flush sent {len(recorder.signals)} and returned {count}",
        expected="nothing to send",
    )


@check("bus", why="a row whose key does not lead back to it cannot be deleted")
def check_primary_key_round_trip(harness: Harness) -> None:
    """Check that a primary key that was read finds its row, and no other."""
    harness.record()
    for row in harness.table.rows():
        expect(
            harness.table.finds(row),
            found=f"no single row has the primary key {row}, which was read from one",
            expected="the row that the key was read from",
            hint="does the type of the column change its values, or round them?",
        )


@check("bus", why="the send method reads attributes, and nothing else is at hand")
def check_object_has_every_column(harness: Harness) -> None:
    """Check that what is sent has all mapped columns, with the stored values."""
    harness.record()
    stored = harness.table.stored()
    with harness.recorder() as recorder:
        harness.flush()

    for signal in recorder.signals:
        values = stored[harness.key_of(signal)]
        for name, value in values.items():
            sent = getattr(signal, name, "nothing")
            expect(
                harness.table.are_same(name, sent, value),
                found=f"the attribute '{name}' of the object is {shortened(sent)}",
                expected=f"{shortened(value)}, as in the table",
                hint="if they look the same, its type has no __eq__ to tell by",
            )


@check("bus", why="a send method may hand the object to a thread, a queue, or a log")
def check_object_works_detached(harness: Harness) -> None:
    """Check that the object can be read after the flush, without a database."""
    signals = harness.as_sent(ROWS)
    statements: list[object] = []
    engine = harness.table.engine
    with listening(engine, "before_cursor_execute", lambda *_: statements.append(1)):
        for signal in signals:
            _read_all(signal, harness.table.attributes)

    expect(
        not statements,
        found=f"reading the attributes executed {len(statements)} SQL statements",
        expected="an object that has its values",
    )


def _read_all(signal: Any, names: Sequence[str]) -> None:
    try:
        for name in names:
            getattr(signal, name)
    except Exception as exc:
        raise Finding(
            Fault(
                found=f"reading the attributes after the flush raised {exc!r}",
                expected="an object that needs no session",
            )
        ) from exc


@check("bus", why="a burst is one transaction, and bounds what an error repeats")
def check_burst_is_bounded_and_batch_is_used(harness: Harness) -> None:
    """Check that bursts are as large as asked for, and sent in bulk if possible."""
    harness.record()
    with harness.recorder(bulk=True) as recorder:
        harness.flush()
    sizes = [len(sent.signals) for sent in recorder.offered if sent.is_bulk]
    expect(
        bool(sizes) and max(sizes) <= BURST,
        found=f"the bulk sender got bursts of {sizes}",
        expected=f"{ROWS} signals in bursts of {BURST}",
    )

    harness.record()
    with harness.recorder(bulk=True, burst=1) as recorder:
        harness.flush()
    expect(
        all(len(sent.signals) == 1 for sent in recorder.offered),
        found="signals were sent together though the burst count is 1",
        expected="one signal at a time",
    )


@check("bus", why="a statement with a parameter for each row may exceed a limit")
def check_full_burst(harness: Harness) -> None:
    """Check that a burst of exactly ``signalbus_burst_count`` signals works."""
    with harness.app.app_context():
        burst = burst_size(harness.model)
    keys = harness.record(burst)
    with harness.recorder(bulk=True, burst=None) as recorder:
        count = harness.flush()

    expect(
        count == burst and len(recorder.offered) == 1,
        found=f"{count} signals were sent in {len(recorder.offered)} calls",
        expected=f"a burst of {burst} in one call",
    )
    expect_sent_once(harness, recorder.signals, keys)


@check("bus", why="every model has its own pace, and its own command to flush it")
def check_other_models_are_untouched(harness: Harness) -> None:
    """Check that a flush of other models leaves this model's rows alone."""
    others = _other_models(harness)
    keys = harness.record()
    with harness.recorder() as recorder:
        for other in others:
            harness.flush(other)

    expect(
        not recorder.offered,
        found=f"{len(recorder.offered)} signals were sent by a flush of other models",
        expected="only the models that were named are flushed",
    )
    harness.expect_pending(keys, when="after a flush of other models")


def _other_models(harness: Harness) -> list[type[Any]]:
    """Return two other models, if possible such that share the table."""
    table = harness.mapper.local_table
    others = [
        model
        for model in harness.bus.get_signal_models()
        if not issubclass(model, harness.model) and not issubclass(harness.model, model)
    ]
    others.sort(key=lambda model: sa.inspect(model).local_table is not table)
    for other in others[:2]:
        # Its rows might be somebody's, and its send methods are its own.
        Harness(other, harness.app).table.require_empty_table()
    return others[:2]


def expect_all_sent(
    harness: Harness, signals: Sequence[Any], keys: Sequence[Key]
) -> None:
    """Expect that every row was sent, no matter how often."""
    sent = set(map(harness.key_of, signals))
    lost = [key for key in keys if key not in sent]
    expect(
        not lost,
        found=f"{len(lost)} rows were never sent: {lost}",
        expected="every row is sent sooner or later",
    )


def expect_sent_once(
    harness: Harness, signals: Sequence[Any], keys: Sequence[Key]
) -> None:
    """Expect that every row was sent, and none twice."""
    expect_all_sent(harness, signals, keys)
    times = Counter(map(harness.key_of, signals))
    repeated = [key for key in keys if times[key] > 1]
    expect(
        not repeated,
        found=f"{len(repeated)} rows were sent more than once: {repeated}",
        expected="each row once",
    )
