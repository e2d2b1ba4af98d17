"""The contestants' processes, seen from outside."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """One flush: how many signals were sent, and how long that took."""

    sent: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Signals per second."""
        return self.sent / self.seconds


class Worker:
    """A contestant in its own process, connected to one database."""

    def __init__(self, program: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            program,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "", "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = self._read()["versions"]

    def order(self, burst: int, pause: float = 0.0) -> None:
        """Ask for everything that is pending to be flushed."""
        assert self._process.stdin is not None
        order = {"burst": burst, "pause": pause}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def result(self) -> Run:
        """Wait until the flush is done."""
        return Run(**self._read())

    def flush(self, burst: int) -> Run:
        self.order(burst)
        return self.result()

    def close(self) -> None:
        self._process.communicate(timeout=10)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A contestant has died: {self._process.args!r}.")

        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def working(programs: Sequence[Sequence[str]]) -> Iterator[list[Worker]]:
    """Start the processes; end them afterwards."""
    workers: list[Worker] = []
    try:
        for program in programs:
            workers.append(Worker(program))
        yield workers
    finally:
        for worker in workers:
            worker.close()


def program(
    contestant: str, *arguments: str, python: str = sys.executable
) -> list[str]:
    """Return the command that runs a contestant."""
    return [python, "-m", f"benchmarks.contestants.{contestant}", *arguments]
