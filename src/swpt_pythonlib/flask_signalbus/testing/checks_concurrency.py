"""Checks of what others see and do while a flush is running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import OperationalError

from .checks_bus import expect_sent_once
from .definition import check
from .failures import expect
from .harness import BURST, ROWS, Harness
from .outside import LOCK_TIMEOUT
from .recorder import Sent

#: Seconds to wait for another thread.
PATIENCE = 30

#: Seconds to wait for a second flusher, which is perhaps waiting for the first; less
#: than it waits for a lock.
_OVERLAP = LOCK_TIMEOUT / 2


@check(
    "bus",
    needs=("second_connection",),
    why="a crash would send everything again, and rows would be locked for long",
)
def check_earlier_bursts_are_committed(harness: Harness) -> None:
    """Check that each burst is committed after it was sent, before the next one."""
    seen: list[tuple[int, int]] = []
    harness.record()

    def look(sent: Sent) -> None:
        accepted = sum(len(earlier.signals) for earlier in recorder.accepted)
        seen.append((accepted, harness.table.count()))

    with harness.recorder(look) as recorder:
        harness.flush()

    for accepted, pending in seen:
        committed = accepted // BURST * BURST
        expect(
            pending == ROWS - committed,
            found=f"{pending} rows were pending when {accepted} had been sent",
            expected=f"{ROWS - committed}, since bursts of {BURST} are committed",
        )


@check("bus", why="producers go on recording while the flush is sending")
def check_row_recorded_during_flush_is_not_lost(harness: Harness) -> None:
    """Check that a signal that is recorded during a flush is sent then or later."""

    def record_in_the_burst() -> None:
        harness.db.session.add(harness.new_row())

    def record_elsewhere() -> None:
        harness.table.record(harness.new_row())

    _record_during_flush(harness, record_in_the_burst)
    # Without row locks, somebody else would have to wait for the end of the burst.
    if harness.capabilities.row_locks:
        _record_during_flush(harness, record_elsewhere)


def _record_during_flush(harness: Harness, record: Callable[[], None]) -> None:
    harness.record()

    def answer(sent: Sent) -> None:
        if not recorder.accepted:
            record()

    with harness.recorder(answer) as recorder:
        count = harness.flush() + harness.flush()

    expect(
        count == len(recorder.signals) == ROWS + 1,
        found=f"{len(recorder.signals)} signals were sent, and {count} reported",
        expected=f"all {ROWS} rows, and the one that was recorded meanwhile",
    )
    harness.expect_pending([], when="after two flushes")


@check(
    "bus",
    needs=("row_locks",),
    why="a second worker that waits for the first is of no use",
)
def check_two_flushers_share_the_work(harness: Harness) -> None:
    """Check that a second flusher skips the burst that another one is sending."""
    keys = harness.record()
    is_sending, may_go_on = threading.Event(), threading.Event()

    def answer(sent: Sent) -> None:
        if not is_sending.is_set():
            is_sending.set()
            may_go_on.wait(PATIENCE)

    with harness.recorder(answer) as recorder:
        first = BackgroundFlush(harness, is_sending.set)
        is_sending.wait(PATIENCE)
        second = BackgroundFlush(harness)
        has_waited = not second.has_ended() or second.error is not None
        may_go_on.set()
        has_ended = first.has_ended()

    expect(
        not has_waited and second.count == ROWS - BURST,
        found=f"the second flusher sent {second.count} signals ({second.error!r})",
        expected=f"{ROWS - BURST}, while the first one was busy with {BURST}",
    )
    _expect_success(first, has_ended)
    expect_sent_once(harness, recorder.signals, keys)


@check(
    "bus",
    needs=("second_connection",),
    why="two workers run sooner or later, if only during a deployment",
)
def check_two_flushers_lose_nothing(harness: Harness) -> None:
    """Check that two flushers at the same time send every signal exactly once."""
    keys = harness.record()
    both_are_sending = threading.Barrier(2)

    def answer(sent: Sent) -> None:
        # Let both claim before either commits, unless one has to wait.
        with suppress(threading.BrokenBarrierError):
            both_are_sending.wait(_OVERLAP)

    with harness.recorder(answer) as recorder:
        flushers = [BackgroundFlush(harness, both_are_sending.abort) for _ in range(2)]
        ends = [flusher.has_ended() for flusher in flushers]
        for flusher, has_ended in zip(flushers, ends, strict=True):
            _expect_success(flusher, has_ended)
        count = sum(flusher.count for flusher in flushers) + harness.flush()

    expect_sent_once(harness, recorder.signals, keys)
    harness.expect_pending([], when="after both flushes")
    expect(
        count == ROWS,
        found=f"the flushers reported {count} signals together",
        expected=f"{ROWS}, each signal by one of them",
    )


def _expect_success(flusher: BackgroundFlush, has_ended: bool) -> None:
    """Expect that a flusher has ended, and at worst waited too long for a lock."""
    expect(
        has_ended,
        found=f"a flusher was still busy after {PATIENCE} seconds",
        expected="a flush that ends",
    )
    expect(
        flusher.error is None or isinstance(flusher.error, OperationalError),
        found=f"a flusher raised {flusher.error!r}",
        expected="a flush that succeeds, or gives up waiting for a lock",
    )


class BackgroundFlush(threading.Thread):
    """A flush in a thread of its own, which nobody has to wait for."""

    def __init__(
        self, harness: Harness, at_end: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(daemon=True)
        self.count: int = 0
        self.error: BaseException | None = None
        self._harness = harness
        self._at_end = at_end
        self.start()

    def run(self) -> None:
        """Flush, and keep what comes of it."""
        try:
            self.count = self._harness.flushmany()
        except BaseException as exc:
            self.error = exc
        self._at_end()

    def has_ended(self) -> bool:
        """Wait for the end of the flush, but not forever."""
        self.join(PATIENCE)
        return not self.is_alive()
