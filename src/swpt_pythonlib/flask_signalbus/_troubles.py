"""What is failing now, so that each cause is told of once, and its end too."""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from ._errors import codes_of
from ._keys import Key
from ._logs import facts, logger

# How many primary keys of a model a line of the log may hold.
_KEYS_PER_LINE = 20


@dataclass(frozen=True)
class Cause:
    """Why something has failed: errors that are alike in this are one trouble.

    :param error: The name of the error's class.
    :param place: Where it was raised.
    :param code: What the database calls it, if it comes from there.
    """

    error: str
    place: tuple[str, int] | None
    code: str | int | None


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error; what its message says does not matter."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next

    place = frame and (frame.tb_frame.f_code.co_filename, frame.tb_lineno)
    orig = error.orig if isinstance(error, DBAPIError) else None
    return Cause(type(error).__name__, place, next(codes_of(orig), None))


@dataclass
class _Trouble:
    since: float
    #: What suffers from it: the full names of models, for instance.
    sufferers: set[str] = field(default_factory=set)


class Troubles:
    """The causes that are known already, and for how long they have lasted."""

    def __init__(self) -> None:
        self._known: dict[Cause, _Trouble] = {}

    def add(self, cause: Cause, sufferer: str = "") -> bool:
        """Note that something has failed; tell whether that is news.

        :param sufferer: What suffers from it: the full name of a model, for instance.
        """
        is_news = cause not in self._known
        trouble = self._known.setdefault(cause, _Trouble(time.monotonic()))
        trouble.sufferers.add(sufferer)
        return is_news

    def end_all_but(self, causes: Set[Cause], sufferer: str = "") -> None:
        """Note that a model was flushed to the end, and what it still suffers from.

        A cause from which nothing suffers any more is over.
        """
        for cause in self._known.keys() - causes:
            trouble = self._known[cause]
            trouble.sufferers.discard(sufferer)
            if not trouble.sufferers:
                del self._known[cause]
                self._tell_end(cause, trouble)

    def _tell_end(self, cause: Cause, trouble: _Trouble) -> None:
        seconds = time.monotonic() - trouble.since
        logger.warning(
            "Recovered from %s after %.1f s.",
            cause.error,
            seconds,
            extra=facts(error=cause.error, seconds=seconds),
        )


class Repetitions:
    """What else has failed of a cause, after the first failure of each kind."""

    def __init__(self) -> None:
        self.count = 0
        self._messages: set[str] = set()
        self._keys: dict[str, list[Key]] = {}

    def is_first(self, message: str) -> bool:
        """Tell whether this kind of failure is seen for the first time."""
        is_first = message not in self._messages
        self._messages.add(message)
        return is_first

    def add(self, model: str, key: Key | None) -> None:
        """Note another failure."""
        self.count += 1
        keys = self._keys.setdefault(model, [])
        if key is not None and len(keys) < _KEYS_PER_LINE:
            keys.append(key)

    def __str__(self) -> str:
        return "; ".join(
            f"{model} with primary keys {', '.join(map(repr, keys))}" if keys else model
            for model, keys in self._keys.items()
        )
