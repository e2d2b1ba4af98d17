"""How patiently a transaction that lost a race is repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How patiently a transaction that lost a race is repeated.

    The policy only answers questions; it does not sleep and it never touches
    the database. That keeps it testable with plain numbers.

    The first repetition is immediate. Every pause after that is drawn at
    random between zero and a bound, which doubles each time: contenders that
    met once shall not meet again.

    :param attempts: How many times the transaction runs in total, the first
        run included. ``1`` turns repeating off.
    :param first_pause: The bound of the first real pause, in seconds. ``0``
        turns pausing off.
    :param longest_pause: The bound stops growing at this many seconds.
    :param give_up_after: No further run begins when the first one began more than
        this many seconds ago. A lost race may itself have taken long, as when a
        lock was waited for in vain.
    :raises ValueError: If ``attempts`` is less than ``1``, or a pause is
        negative.

    >>> policy = RetryPolicy(attempts=5, first_pause=0.1, longest_pause=0.2)
    >>> [policy.longest_pause_after(failures) for failures in (1, 2, 3, 4, 5)]
    [0.0, 0.1, 0.2, 0.2, None]

    .. versionadded:: 1.0
    """

    attempts: int = 50
    first_pause: float = 0.02
    longest_pause: float = 1.0
    give_up_after: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"'attempts' must be 1 or more, got {self.attempts}.")
        if self.first_pause < 0 or self.longest_pause < 0:
            raise ValueError("'first_pause' and 'longest_pause' must not be negative.")

    def pause_after(self, failures: int, elapsed: float = 0.0) -> float | None:
        """Return the seconds to wait before the next run, or ``None`` to stop.

        :param failures: How many runs have failed so far.
        :param elapsed: The seconds since the first run began.
        """
        if elapsed > self.give_up_after:
            return None

        longest = self.longest_pause_after(failures)
        return longest and random.uniform(0.0, longest)

    def longest_pause_after(self, failures: int) -> float | None:
        """Return the bound of the next pause, or ``None`` to stop.

        :param failures: How many runs have failed so far.
        """
        if failures >= self.attempts:
            return None
        if failures <= 1:
            return 0.0

        # The exponent is bounded, since a float is.
        return min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 2, 64))
