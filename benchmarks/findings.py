"""What is found out about the outboxes that are compared, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median

from benchmarks.tables import list_table


@dataclass(kw_only=True)
class Findings:
    """What was measured of one contestant.

    :param best: Messages per second from a backlog, in each round.
    :param single: The same, in batches of one.
    :param latencies: Milliseconds from commit to send.
    :param statements: What an idle worker sends in a minute.
    :param repeats: How many messages are sent again after a kill.
    :param delays: How many seconds after it those are sent that are held back.
    :param poison_repeats: How many are sent again if another one can't be sent.
    :param poison_delay: Milliseconds from the first message to the last of the others.
    """

    title: str
    best: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    statements: float = 0.0
    repeats: int = 0
    delays: list[float] = field(default_factory=list)
    poison_repeats: int = 0
    poison_delay: float = inf


def table(findings: Sequence[Findings]) -> str:
    ours = findings[0]
    rows = {
        "Backlog, best setting: messages a second": [
            _grouped(median(each.best)) for each in findings
        ],
        "Backlog, best setting: this library, times as fast": [
            _ratio(ours.best, each.best) for each in findings
        ],
        "Backlog, one at a time: messages a second": [
            _grouped(median(each.single)) for each in findings
        ],
        "Backlog, one at a time: this library, times as fast": [
            _ratio(ours.single, each.single) for each in findings
        ],
        "Commit to send: median, ms": [
            f"{median(each.latencies):.1f}" for each in findings
        ],
        "Commit to send: 95 %, ms": [
            f"{sorted(each.latencies)[int(len(each.latencies) * 0.95)]:.1f}"
            for each in findings
        ],
        "Nothing to send: statements a minute": [
            f"{each.statements:.0f}" for each in findings
        ],
        "Killed in mid-send: sent again": [str(each.repeats) for each in findings],
        "Killed in mid-send: held back": [_held_back(each.delays) for each in findings],
        "One of 100 can't be sent: others sent twice": [
            str(each.poison_repeats) for each in findings
        ],
        "One of 100 can't be sent: others gone after, ms": [
            f"{each.poison_delay:.0f}" for each in findings
        ],
    }
    header = ["Measured", *(each.title for each in findings)]
    return list_table(header, ([title, *cells] for title, cells in rows.items()))


def _grouped(rate: float) -> str:
    # Only the digits that are reproducible.
    return f"{int(float(f'{rate:.2g}')):,}".replace(",", "\N{NO-BREAK SPACE}")


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Say the median of the ratios of runs that were made in the same round."""
    pairs = zip(ours, theirs, strict=True)
    ratio = median(mine / other for mine, other in pairs)
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _held_back(delays: Sequence[float]) -> str:
    if not delays:
        return "none"

    first, last = min(delays), max(delays)
    seconds = f"{first:.0f}" if last - first < 1 else f"{first:.0f} to {last:.0f}"
    return f"{len(delays)}, for {seconds} s"
