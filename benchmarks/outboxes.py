"""The outboxes that are compared: where they run, and with which settings."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from json import dumps
from typing import Any

import sqlalchemy as sa

from benchmarks.environments import environment
from benchmarks.findings import Findings
from benchmarks.workers import Process, processes

#: How many messages a batch has, where it doesn't matter how fast they are sent.
BURST = 100


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """An outbox.

    :param driver: The scheme of the URLs that it takes.
    :param table: Where its messages are pending.
    :param best: The batch with which it drains a backlog fastest, of those tried.
    :param batch: A batch of a hundred, or what it has in the place of batches.
    :param after_kill: What its worker is told besides, where another one was killed.
    """

    module: str
    title: str
    driver: str
    table: str
    best: int
    batch: int = BURST
    after_kill: tuple[str, ...] = ()


OURS = Contestant(
    module="this_library",
    title="this library",
    driver="postgresql+psycopg2",
    table="bench_signal",
    best=1000,
)
PEERS = (
    Contestant(
        module="txoutbox",
        title="txoutbox",
        driver="postgresql",
        table="outbox",
        best=1000,
    ),
    Contestant(
        module="faststream_outbox",
        title="faststream-outbox",
        driver="postgresql+asyncpg",
        table="outbox",
        best=1000,
    ),
    Contestant(
        module="procrastinate",
        title="procrastinate",
        driver="postgresql",
        table="procrastinate_jobs",
        best=30,
        batch=30,
        # Each minute. Its documentation says every ten, which is long to wait for.
        after_kill=("* * * * *",),
    ),
)


class Entrant:
    """A contestant with a database, and with a process that records."""

    def __init__(self, contestant: Contestant, url: sa.URL, python: str) -> None:
        url = url.set(database=contestant.module)
        self.contestant = contestant
        self._engine = sa.create_engine(url)
        url = url.set(drivername=contestant.driver)
        self._url = url.render_as_string(hide_password=False)
        self._python = python
        self._recorder = Process(self._program("record", self._url))
        (version,) = self._recorder.answer()["versions"].values()
        self.findings = Findings(title=f"{contestant.title} {version}")

    def working(
        self, batch: int, *more: str, **order: Any
    ) -> AbstractContextManager[list[Process]]:
        """Start a worker, whose sender gets the order; end it afterwards."""
        arguments = ("work", self._url, str(batch), dumps(order), *more)
        return processes([self._program(*arguments)])

    def record(self, count: int) -> float:
        """Record messages, and return when that was committed."""
        committed: float = self._recorder.ask(str(count))["committed"]
        return committed

    def fill(self, count: int) -> None:
        """Record messages, and remove all others."""
        with self._engine.begin() as connection:
            names = sa.inspect(connection).get_table_names()
            connection.execute(sa.text(f"TRUNCATE TABLE {', '.join(names)}"))
        self.record(count)
        with self._engine.begin() as connection:
            connection.execute(sa.text("ANALYZE"))

    def pending(self) -> int:
        """Return how many messages there are."""
        with self._engine.connect() as connection:
            table = self.contestant.table
            return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")))

    def close(self) -> None:
        self._recorder.end()
        self._engine.dispose()

    def _program(self, *arguments: str) -> list[str]:
        command = [self._python, "-m", "benchmarks.contestants"]
        return [*command, self.contestant.module, *arguments]


def enter(contestant: Contestant, server: sa.Engine) -> Entrant:
    """Give a contestant a database, and an environment if it is not ours."""
    is_ours = contestant is OURS
    python = sys.executable if is_ours else environment(contestant.module)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {contestant.module}"))
    return Entrant(contestant, server.url, python)
