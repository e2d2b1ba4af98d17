"""The loop that flushes for months: its pace, and how it lives through outages."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flask import Flask

from ._errors import ends_the_call
from ._logs import facts, logger
from ._models import Model
from ._tallies import Tally
from ._troubles import Troubles, cause_of

#: Half of the longest first pause of an outage, in seconds, unless '--repeat' is less.
#: Who is woken up need not look often, but must see soon that a server is back.
_SHORTEST_RHYTHM = 1.0


class Bell(Protocol):
    """What a worker waits for in its pauses."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait until signals are recorded, or to the end of the pause or the work."""

    def close(self) -> None:
        """Release what was needed to hear."""


class SilentBell:
    """A bell that never rings."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait to the end of the pause, or of the work."""
        stop.wait(seconds)

    def close(self) -> None:
        """Release nothing."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long a worker pauses.

    :param repeat: The seconds from the beginning of a flush to that of the next.
    :param max_pause: The seconds up to which pauses grow while nothing gets through,
        unless they are longer already.
    """

    repeat: float
    max_pause: float

    def longest_pause_after(self, failures: int) -> float:
        """Return the bound of the next pause.

        :param failures: How many flushes in a row have failed, and have sent nothing.
        """
        if not failures:
            return self.repeat

        # The exponent is bounded, since a float is.
        grown = min(self.repeat, _SHORTEST_RHYTHM) * 2.0 ** min(failures, 64)
        return min(max(self.repeat, self.max_pause), grown)

    def pause_after(self, failures: int) -> float:
        """Return the seconds to wait: workers that failed together shall part."""
        longest = self.longest_pause_after(failures)
        return random.uniform(longest / 2, longest) if failures else longest


class Flusher:
    """Makes flushes, each in an application context of its own, and logs their ends.

    :param flush: Flushes, and notes in the tally what has become of it.
    :param stop: Whether somebody wants the work to end.
    :param liveness_file: Is touched before each burst, and after each flush.
    """

    def __init__(
        self,
        app: Flask,
        flush: Callable[[Tally], None],
        *,
        stop: threading.Event,
        liveness_file: Path | None = None,
    ) -> None:
        self.stop = stop
        self.troubles = Troubles()
        self._app = app
        self._flush = flush
        self._liveness_file = liveness_file

    def flush(
        self,
        *,
        is_quiet: bool = False,
        outage_since: float | None = None,
        only: Set[Model] | None = None,
    ) -> Tally:
        """Flush once, up to the end or to the next burst after the stop.

        :param is_quiet: Whether what each flush would log is left out.
        :param outage_since: Since when nothing has got through.
        :param only: The models to flush, if not all of them.
        """
        tally = Tally(
            should_stop=self._should_stop,
            troubles=self.troubles,
            is_quiet=is_quiet,
            outage_since=outage_since,
            only=only,
        )
        try:
            # A context of its own ends what belongs to the flush: the session, whatever
            # an extension has collected, and what teardown functions clear away.
            with self._app.app_context():
                self._flush(tally)
                _log_success(tally)
        except BaseException as error:
            if ends_the_call(error):
                raise
            tally.note_outer_error(error)
        else:
            self.troubles.end_all_but(set())

        if tally.first_error is not None and not tally.is_old_news:
            logger.error(
                "Caught error while sending pending signals.",
                exc_info=tally.first_error,
                extra=tally.first_facts,
            )
        self.touch()
        return tally

    def touch(self) -> None:
        """Show that the work goes on."""
        if self._liveness_file is None:
            return

        try:
            self._liveness_file.touch()
        except OSError as error:
            if self.troubles.add(cause_of(error), "the liveness file"):
                logger.error("The liveness file cannot be touched.", exc_info=error)
        else:
            self.troubles.end_all_but(set(), "the liveness file")

    def _should_stop(self) -> bool:
        self.touch()
        return self.stop.is_set()


class Worker:
    """Flushes again and again, until it is stopped.

    :param bell: Ends a pause when signals are recorded.
    """

    def __init__(self, flusher: Flusher, *, pace: Pace, bell: Bell) -> None:
        self._flusher = flusher
        self._pace = pace
        self._bell = bell
        #: How many flushes in a row have failed, and have sent nothing.
        self._failures = 0
        #: Since when there has been no flush without a failure.
        self._since: float | None = None
        #: Whether the last flush was given up, and has sent nothing.
        self._is_outage = False
        #: When it may be logged again that it is still failing.
        self._next_line = 0.0

    def run(self) -> None:
        """Flush until the stop; errors are logged."""
        self._flusher.touch()
        while not self._flusher.stop.is_set():
            started = time.monotonic()
            tally = self._flusher.flush(
                is_quiet=self._failures > 0,
                outage_since=self._since if self._is_outage else None,
            )
            if tally.first_error is not None:
                self._pause_after_failure(started, tally)
                continue

            self._failures, self._since, self._is_outage = 0, None, False
            # Where there were signals, there may be more.
            if not tally.sent:
                elapsed = time.monotonic() - started
                self._wait(max(0.0, self._pace.repeat - elapsed))

    def _pause_after_failure(self, started: float, tally: Tally) -> None:
        self._failures = 0 if tally.sent else self._failures + 1
        self._is_outage = self._failures > 0 and not tally.is_complete
        since = self._since = started if self._since is None else self._since
        pause = self._pace.pause_after(self._failures or not tally.is_complete)
        self._log_failure(tally, since, pause)
        if tally.is_complete:
            self._wait(pause)
        else:
            self._pause_without(tally.complete, pause)

    def _pause_without(self, others: Set[Model], seconds: float) -> None:
        """Leave the models in peace that nothing gets through from, but not the others.

        In an outage, more signals are no reason to hurry.
        """
        flusher, deadline = self._flusher, time.monotonic() + seconds
        while others and (left := deadline - time.monotonic()) > 0:
            self._wait(min(left, self._pace.repeat))
            if flusher.stop.is_set():
                return
            if time.monotonic() < deadline:
                others = flusher.flush(is_quiet=True, only=others).complete

        self._wait(max(0.0, deadline - time.monotonic()), is_deaf=True)

    def _log_failure(self, tally: Tally, since: float, pause: float) -> None:
        """Log that an outage goes on, once a pause at most."""
        now = time.monotonic()
        if tally.is_old_news and now >= self._next_line:
            logger.warning(
                "Still failing after %.1f s: %s; %d signals could not be sent. The next"
                " flush follows within %.1f s.",
                now - since,
                type(tally.first_error).__name__,
                tally.failed,
                pause,
                extra=tally.first_facts | facts(count=tally.failed, pause=pause),
            )
        if not tally.is_old_news or now >= self._next_line:
            self._next_line = now + pause

    def _wait(self, seconds: float, *, is_deaf: bool = False) -> None:
        stop = self._flusher.stop
        if stop.is_set():
            return

        try:
            bell: Bell = SilentBell() if is_deaf else self._bell
            bell.wait(seconds, stop)
        except Exception as error:
            if self._flusher.troubles.add(cause_of(error), "the bell"):
                logger.error("A pause could not be cut short.", exc_info=error)
            stop.wait(seconds)


def _log_success(tally: Tally) -> None:
    is_whole = tally.first_error is None and tally.only is None
    if is_whole or tally.sent:
        logger.info(
            "%d signals have been successfully processed.",
            tally.sent,
            extra=facts(count=tally.sent),
        )
