"""What a flush has done so far, and how that is told: log records and hooks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any

from blinker import NamedSignal
from flask import current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import scoped_session

from ._errors import ends_the_call
from ._hooks import burst_sent, failures_of_receivers, pass_ended, sending_failed
from ._keys import Key
from ._logs import facts, logger
from ._models import Model, full_name
from ._sessions import current, roll_back
from ._troubles import Cause, Repetitions, Troubles, cause_of


class Stopped(Exception):
    """Somebody wants the flush to end before its next burst."""


class Tally:
    """What a flush has done so far.

    :param should_stop: Asked before each burst.
    :param troubles: The failures that have been told of already.
    :param is_quiet: Whether the lines that each pass would write are left out.
    :param outage_since: Since when nothing has got through, by the monotonic clock.
    :param only: The models that may be flushed, if not all of them.
    """

    def __init__(
        self,
        *,
        should_stop: Callable[[], bool] | None = None,
        troubles: Troubles | None = None,
        is_quiet: bool = False,
        outage_since: float | None = None,
        only: Set[Model] | None = None,
    ) -> None:
        self.sent = 0
        self.only = only
        #: How many signals could not be sent.
        self.failed = 0
        #: Whether each pass has come to its end, even if signals have failed.
        self.is_complete = True
        #: The models whose passes have come to their ends.
        self.complete: set[Model] = set()
        self.first_error: BaseException | None = None
        #: What is known of the first error, and whether that has been told before.
        self.first_facts: dict[str, object] = {}
        self.is_old_news = False
        #: The level of what each pass would write.
        self.level = logging.DEBUG if is_quiet else logging.INFO
        self._outage_since = outage_since
        self._should_stop = should_stop
        self._troubles = Troubles() if troubles is None else troubles
        self._repetitions: dict[Cause, Repetitions] = {}

    @property
    def note(self) -> str:
        """What is added to an error that reaches the caller."""
        return f"Signals that this flush has sent all the same: {self.sent}."

    def check_stop(self) -> None:
        """Make sure that another burst may begin.

        :raises Stopped: If somebody wants the flush to end.
        """
        if self._should_stop is not None and self._should_stop():
            raise Stopped

    @contextmanager
    def a_pass(self, model: Model, session: scoped_session[Any]) -> Iterator[PassTally]:
        """Return what counts in the pass over a model; note what makes it fail.

        :raises Stopped: If somebody wants the flush to end.
        """
        self.check_stop()
        tally = PassTally(self, model, session)
        try:
            yield tally
        except BaseException as error:
            if isinstance(error, Stopped) or ends_the_call(error):
                raise
            tally.note_end_by(error)
        else:
            if not tally.gave_up:
                self.complete.add(model)
                self._troubles.end_all_but(tally.causes, tally.sufferer)
        finally:
            tally.tell_end()

    def note_sent(self, count: int) -> None:
        """Note that signals have been sent; tell it, if an outage is over with that."""
        self.sent += count
        if count and self._outage_since is not None:
            seconds = time.monotonic() - self._outage_since
            self._outage_since = None
            message = "Signals can be sent again, after %.1f s."
            logger.warning(message, seconds, extra=facts(seconds=seconds))

    def note_error(
        self,
        error: BaseException,
        message: str,
        *args: object,
        sufferer: str = "",
        **known: Any,
    ) -> Cause:
        """Tell of an error, with its traceback unless that has been, or will be, told.

        The first one is raised, and so told by the caller.

        :param sufferer: The full name of the model.
        :param known: The facts.
        """
        extra = facts(error=type(error).__name__, **known)
        has_traceback = self.first_error is not None
        cause, is_new = self._blame(error, sufferer, extra)
        has_traceback &= is_new
        if "signalbus_key" in extra and self._is_like_first(cause, known["model"]):
            # A signal that fails alone is a better example than its burst.
            self.first_facts = extra
        repetitions = self._repetitions.get(cause)
        if repetitions is None or not repetitions.is_first(message):
            level = logging.DEBUG
            if repetitions is not None:
                repetitions.add(known.get("model", "the rest"), known.get("key"))
        else:
            level = logging.ERROR if has_traceback else logging.WARNING

        traceback = error if has_traceback else None
        logger.log(level, message, *args, exc_info=traceback, extra=extra)
        return cause

    def note_outer_error(self, error: BaseException) -> None:
        """Note an error that no pass is to blame for, without telling it yet."""
        self.is_complete = False
        self.complete.clear()
        if self.first_error is None:
            self._blame(error, "", facts(error=type(error).__name__))
        else:
            self.note_error(error, "Failed to end the flush.")

    def _blame(
        self, error: BaseException, sufferer: str, extra: dict[str, object]
    ) -> tuple[Cause, bool]:
        """Note a cause; tell whether it is a new one."""
        cause = cause_of(error)
        is_new = self._troubles.add(cause, sufferer)
        if is_new:
            self._repetitions[cause] = Repetitions()
        if self.first_error is None:
            self.first_error, self.first_facts = error, extra
            self.is_old_news = not is_new

        return cause, is_new

    def _is_like_first(self, cause: Cause, model: str) -> bool:
        assert self.first_error is not None
        return (
            "signalbus_key" not in self.first_facts
            and self.first_facts.get("signalbus_model") == model
            and cause_of(self.first_error) == cause
        )

    def has_news_of(self, causes: Set[Cause]) -> bool:
        """Tell whether one of the causes has appeared in this flush."""
        return not causes.isdisjoint(self._repetitions)

    def tell(
        self, hook: NamedSignal, session: scoped_session[Any], **known: Any
    ) -> None:
        """Call the receivers of a hook; what they raise is told once."""
        if not hook.receivers:
            return

        app = current_app._get_current_object()  # type: ignore[attr-defined]
        for error in failures_of_receivers(hook, app, **known):
            if self._troubles.add(cause_of(error), f"receivers of {hook.name}"):
                message = "A receiver of '%s' has failed."
                logger.error(message, hook.name, exc_info=error)
        if current(session).in_transaction():
            # The next burst would have to share it.
            roll_back(session)

    def tell_repetitions(self) -> None:
        """Tell, in one line a cause, of what was not worth a line of its own."""
        for cause, repetitions in self._repetitions.items():
            if repetitions.count:
                logger.warning(
                    "Further failures of the same cause (%s): %d, of %s.",
                    cause.error,
                    repetitions.count,
                    repetitions,
                    extra=facts(error=cause.error, count=repetitions.count),
                )


class PassTally:
    """What the pass over a model has done so far."""

    def __init__(
        self, tally: Tally, model: Model, session: scoped_session[Any]
    ) -> None:
        self.name: str = model.__name__
        # Two models may have the same name.
        self.sufferer = full_name(model)
        self.causes: set[Cause] = set()
        self.gave_up = False
        self._flush = tally
        self._model = model
        self._session = session
        self._started = time.monotonic()
        self._sent = 0
        self._failed = 0
        #: How many signals are in the burst that is to blame if the pass fails.
        self.in_hand = 0
        logger.log(tally.level, "Flushing %s.", self.name, extra=facts(model=self.name))

    def check_stop(self) -> None:
        """See :meth:`Tally.check_stop`."""
        self._flush.check_stop()

    def note_sent(self, count: int, seconds: float) -> None:
        """Note that signals have been sent, and their deletion is committed."""
        self._sent += count
        self._flush.note_sent(count)
        if not count:
            return

        if logger.isEnabledFor(logging.DEBUG):
            known = facts(model=self.name, count=count, seconds=seconds)
            message = "Sent a burst of %d signals of %s."
            logger.debug(message, count, self.name, extra=known)
        self._tell(burst_sent, count=count, seconds=seconds)

    def note_error(
        self,
        error: BaseException,
        message: str,
        *args: object,
        count: int,
        key: Key | None = None,
    ) -> None:
        """Note that a burst, or a signal, could not be sent."""
        cause = self._flush.note_error(
            error,
            message,
            *args,
            sufferer=self.sufferer,
            model=self.name,
            count=count,
            key=key,
        )
        self.causes.add(cause)
        self._tell(sending_failed, error=error, count=count, key=key)

    def note_failure(self, error: BaseException, key: Key) -> None:
        """Note that a signal could not be sent, though it was tried alone."""
        self._count_failures(1)
        message = "Failed to send the signal of %s with primary key %r."
        self.note_error(error, message, self.name, key, count=1, key=key)

    def note_end_by(self, error: BaseException) -> None:
        """Note what has ended the pass."""
        self.gave_up, self._flush.is_complete = True, False
        self._count_failures(self.in_hand)
        if isinstance(error, DBAPIError):
            error.add_note(
                f"'flask signalbus check --database {self.name}' tells whether the"
                f" table is there, and what else a flush needs."
            )
        self.note_error(error, "Failed to flush %s.", self.name, count=self.in_hand)

    def give_up(self) -> None:
        """Note that nothing gets through."""
        self.gave_up, self._flush.is_complete = True, False
        is_news = self._flush.has_news_of(self.causes)
        level = logging.WARNING if is_news else logging.DEBUG
        message = "Gave up on %s for now; nothing gets through."
        logger.log(level, message, self.name, extra=facts(model=self.name))

    def tell_end(self) -> None:
        """Tell of the end of the pass, whatever has become of it."""
        self._tell(
            pass_ended,
            sent=self._sent,
            failed=self._failed,
            gave_up=self.gave_up,
            seconds=time.monotonic() - self._started,
        )

    def _count_failures(self, count: int) -> None:
        self._failed += count
        self._flush.failed += count

    def _tell(self, hook: NamedSignal, **known: Any) -> None:
        self._flush.tell(hook, self._session, model=self._model, **known)
