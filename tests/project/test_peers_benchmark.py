"""What the comparison with other outboxes says, whatever it measures."""

import re
import sys
import time
from math import inf

import pytest
from benchmarks.contestants.sending import Sender
from benchmarks.environments import REQUIREMENTS
from benchmarks.findings import Findings, table
from benchmarks.outboxes import PEERS, Contestant
from benchmarks.peers import databases_in
from benchmarks.workers import processes

pytestmark = pytest.mark.once


def findings(title: str, rate: float, **more: float | list[float]) -> Findings:
    found = Findings(title=title, best=[rate], single=[rate / 10], latencies=[2.0])
    for name, value in more.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.title)
def test_the_environment_of_a_peer_is_the_same_each_time(peer: Contestant) -> None:
    lines = (REQUIREMENTS / f"{peer.module}.txt").read_text().splitlines()

    wanted = [line for line in lines if not line.startswith("#")]
    assert wanted[0].startswith(f"{peer.title}==")
    assert [line for line in wanted if not re.fullmatch(r"[\w-]+==[\d.]+", line)] == []


def test_the_table_says_how_many_times_as_fast_this_library_is() -> None:
    ours = findings("this library 1.0", 80_000.0)
    other = findings("other 2.0", 1_000.0, delays=[61.0, 61.2], poison_repeats=3)

    rows = [row.split("\n      - ") for row in table([ours, other]).split("* - ")[1:]]
    cells = {title: [cell.strip() for cell in row] for title, *row in rows}

    assert cells["Measured"] == ["this library 1.0", "other 2.0"]
    assert cells["Backlog, best setting: this library, times as fast"] == ["1.0", "80"]
    assert cells["Killed in mid-send: held back"] == ["none", "2, for 61 s"]
    assert cells["One of 100 can't be sent: others sent twice"] == ["0", "3"]


def test_the_table_shows_what_was_never_sent() -> None:
    stuck = findings("stuck 1.0", 1.0, delays=[61.0, inf])

    text = table([stuck])

    assert "2, for 61 to inf s" in text
    assert "others gone after, ms\n      - inf" in text


def test_statements_are_counted_by_database() -> None:
    log = [
        "txoutbox LOG:  statement: BEGIN;\n",
        "txoutbox LOG:  execute __asyncpg_stmt_2__: SELECT 1\n",
        "txoutbox DETAIL:  parameters: $1 = 'txoutbox LOG:  statement: '\n",
        "this_library LOG:  execute <unnamed>: SELECT 1\n",
        " LOG:  checkpoint starting: time\n",
    ]

    assert list(databases_in(log)) == ["txoutbox", "txoutbox", "this_library"]


def test_a_sender_says_each_message_or_how_long_they_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = [f"confirmation of order number {n} to a customer" for n in (7, 8, 9)]
    each, timed = Sender(refuses=8), Sender(between=(1, 3))

    each.send(texts[0])
    with pytest.raises(RuntimeError, match="Message 8 is refused"):
        each.send(texts[1])
    said = capsys.readouterr().out
    for text in texts:
        timed.send(text)

    assert re.fullmatch(r'\{"sent": 7, "at": [\d.]+\}\n', said)
    assert re.fullmatch(r'\{"seconds": [\d.e-]+\}\n', capsys.readouterr().out)


def test_a_process_that_was_killed_is_heard_to_the_end() -> None:
    dying = "import os; print('{\"sent\": 1}', flush=True); os.kill(os.getpid(), 9)"

    started = time.monotonic()
    with processes([[sys.executable, "-c", dying]]) as (process,):
        heard = list(iter(process.hear, None))

    assert heard == [{"sent": 1}]
    # Its patience would be longer.
    assert time.monotonic() - started < 100
