"""How much is measured."""

from dataclasses import dataclass

BURSTS = (1, 10, 100, 1000)

#: How many flushers run at the same time, and how: small bursts, sent slowly.
FLUSHERS = (1, 2, 4)
FLUSHER_BURST = 10
FLUSHER_PAUSE = 0.002

#: Large bursts, so that a large backlog is drained in reasonable time.
BACKLOG_BURST = 1000


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long a measurement takes.

    :param rounds: How often everything is repeated, in turn.
    :param seconds: Roughly how long one run takes.
    :param backlogs: How many signals are pending, the fewest first.
    """

    rounds: int
    seconds: float
    backlogs: tuple[int, ...]


FULL = Scale(rounds=5, seconds=0.8, backlogs=(10_000, 100_000, 1_000_000))
QUICK = Scale(rounds=3, seconds=0.15, backlogs=(10_000, 100_000))
