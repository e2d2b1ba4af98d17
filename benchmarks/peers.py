"""This library beside other outboxes, on PostgreSQL: ``python -m benchmarks.peers``.

Each has a database, its own worker as its authors recommend it, and the same sender.
Those that are not ours have an environment, too.
"""

import argparse
import os
import platform
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.databases import BACKENDS, Outbox, outbox
from benchmarks.experiments import Say, progress
from benchmarks.findings import Findings, table
from benchmarks.outboxes import BURST, OURS, PEERS, Entrant, enter
from benchmarks.pages import publish
from benchmarks.workers import Process

#: How many messages are pending when a worker is killed, and which one it sends then.
PENDING = 300
DIES_AT = 150
#: What leaves more seconds after the kill was held back: no restart takes so long.
RESTARTED = 10.0
#: Longer than any lease, and all that is waited for besides.
RELEASED = 150.0
#: Which one of a batch can't be sent.
POISON = 50
#: For how many seconds it is watched what becomes of the others.
WATCHED = 5.0
#: This library looks more often for so many seconds after something was recorded.
QUIET = 30


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured.

    :param rounds: How often each backlog is drained.
    :param seconds: How long that takes, roughly.
    :param messages: How many are recorded one by one, to see how soon they are sent.
    :param idle: For how many seconds statements are counted.
    """

    rounds: int
    seconds: float
    messages: int
    idle: int


FULL = Scale(rounds=5, seconds=0.6, messages=30, idle=60)
QUICK = Scale(rounds=2, seconds=0.3, messages=8, idle=30)


def measure(signals: Outbox, scale: Scale, say: Say) -> list[Findings]:
    """Measure all contestants in databases of the same server."""
    url = sa.make_url(signals.url("postgresql+psycopg2"))
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        stack.callback(server.dispose)
        entrants = []
        for contestant in (OURS, *PEERS):
            entrants.append(enter(contestant, server))
            stack.callback(entrants[-1].close)

        drain_all(entrants, scale, say)
        wait_for_messages(entrants, server, scale, say)
        say("a worker is killed")
        with ThreadPoolExecutor() as pool:
            list(pool.map(kill, entrants))
        say("a message can't be sent; what follows is told by those that try")
        for entrant in entrants:
            poison(entrant)

        return [entrant.findings for entrant in entrants]


def drain_all(entrants: Sequence[Entrant], scale: Scale, say: Say) -> None:
    """Have all drain backlogs in turn, each at its best and one message at a time."""
    runs = []
    for entrant in entrants:
        say(f"{entrant.findings.title}: how long a backlog takes")
        found = entrant.findings
        for batch, rates in ((entrant.contestant.best, found.best), (1, found.single)):
            enough = drain(entrant, batch, 10 * batch) * scale.seconds
            # Whole batches, so that the first and the last tenth end where one does.
            count = max(1, round(enough / batch / 10)) * batch * 10
            runs.append((entrant, batch, count, rates))

    for i in range(scale.rounds):
        say(f"backlogs, round {i + 1} of {scale.rounds}")
        for entrant, batch, count, rates in runs:
            rates.append(drain(entrant, batch, count))


def drain(entrant: Entrant, batch: int, count: int) -> float:
    """Return how many messages a second leave a backlog, after a tenth of it."""
    entrant.fill(count)
    first = count // 10
    with entrant.working(batch, between=(first, count)) as (worker,):
        seconds: float = worker.answer()["seconds"]
    return (count - first) / seconds


def wait_for_messages(
    entrants: Sequence[Entrant], server: sa.Engine, scale: Scale, say: Say
) -> None:
    """Find out how soon workers send, and what they ask if there is nothing to send."""
    with ExitStack() as stack:
        workers = []
        for entrant in entrants:
            entrant.fill(1)
            (worker,) = stack.enter_context(entrant.working(entrant.contestant.batch))
            worker.answer()
            workers.append(worker)

        say("messages that come one by one")
        for _ in range(scale.messages):
            for entrant, worker in zip(entrants, workers, strict=True):
                # At no multiple of any pause.
                time.sleep(random.uniform(0.2, 0.9))
                committed = entrant.record(1)
                # It may be sent before the recorder has noticed that it is committed.
                latency = max(0.0, worker.answer()["at"] - committed)
                entrant.findings.latencies.append(latency * 1e3)

        say("nothing to send")
        time.sleep(QUIET)
        with statements_counted(server) as counts:
            time.sleep(scale.idle)

    for entrant in entrants:
        count = counts[entrant.contestant.module]
        entrant.findings.statements = count * 60 / scale.idle


@contextmanager
def statements_counted(server: sa.Engine) -> Iterator[Counter[str]]:
    """Count what each database is asked; the counts are there afterwards."""
    counts: Counter[str] = Counter()
    with server.connect() as connection:
        # A private server writes its log beside its data.
        folder = str(connection.scalar(sa.text("SHOW data_directory")))
        path = Path(folder).with_name("log")
        _configure(connection, log_line_prefix="'%d '", log_statement="'all'")
        start = path.stat().st_size
        yield counts
        _configure(connection, log_line_prefix="DEFAULT", log_statement="DEFAULT")

    with path.open(errors="replace") as log:
        log.seek(start)
        counts.update(databases_in(log))


def _configure(connection: sa.Connection, **settings: str) -> None:
    for name, value in settings.items():
        connection.execute(sa.text(f"ALTER SYSTEM SET {name} = {value}"))
    connection.execute(sa.text("SELECT pg_reload_conf()"))


def databases_in(log: Iterable[str]) -> Iterator[str]:
    """Yield, for each statement in a log, the name of the database."""
    for line in log:
        found = re.match(r"(\w+) LOG:  (statement|execute [^:]*): ", line)
        if found:
            yield found[1]


def kill(entrant: Entrant) -> None:
    """Find out what is sent again, and what late, if a worker is killed in mid-send."""
    contestant, found = entrant.contestant, entrant.findings
    entrant.fill(PENDING)
    with entrant.working(contestant.batch, dies_at=DIES_AT) as (worker,):
        before = list(iter(worker.hear, None))
    killed = before[-1]["at"]
    with entrant.working(contestant.batch, *contestant.after_kill) as (worker,):
        after = list(_until_empty(entrant, worker, killed + RELEASED))

    numbers = Counter(said["sent"] for said in [*before, *after])
    found.repeats = numbers.total() - len(numbers)
    delays = [said["at"] - killed for said in after]
    delays += [inf] * (PENDING - len(numbers))
    found.delays = [delay for delay in delays if delay > RESTARTED]


def _until_empty(
    entrant: Entrant, worker: Process, deadline: float
) -> Iterator[dict[str, Any]]:
    while time.monotonic() < deadline:
        said = worker.hear(patience=1.0)
        if said is not None:
            yield said
        elif entrant.pending() == 0:
            return


def poison(entrant: Entrant) -> None:
    """Find out what becomes of messages among which is one that can't be sent."""
    found = entrant.findings
    entrant.fill(BURST)
    sent: dict[int, float] = {}
    with entrant.working(entrant.contestant.batch, refuses=POISON) as (worker,):
        said: dict[str, Any] | None = worker.answer()
        while said is not None:
            found.poison_repeats += said["sent"] in sent
            sent.setdefault(said["sent"], said["at"])
            said = worker.hear(min(sent.values()) + WATCHED - time.monotonic())

    if len(sent) == BURST - 1:
        found.poison_delay = (max(sent.values()) - min(sent.values())) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure little, roughly")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    load, *_ = os.getloadavg()

    (backend,) = (each for each in BACKENDS if each.name == "PostgreSQL")
    with outbox(backend) as signals:
        findings = measure(signals, scale, progress())
        machine = (
            f"PostgreSQL {signals.version}, Python {platform.python_version()}, "
            f"{os.cpu_count()} processors; {load:.1f} processes of others had work for "
            f"them when this began."
        )

    text = "\n".join([table(findings), machine, ""])
    publish("peers", text, is_rough=options.quick)


if __name__ == "__main__":
    main()
