"""The contestants' processes, seen from outside."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

ROOT = Path(__file__).parent.parent
#: The contestants see nothing of ours but what is in the project's folder.
ENVIRON = {**os.environ, "PYTHONPATH": "", "PYTHONHASHSEED": "0"}


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
        self._process = _started(program)
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


class Process:
    """A process that is told lines, and says lines, when it likes to."""

    def __init__(self, program: Sequence[str]) -> None:
        self._process = _started(program)
        # An empty one says that there will be no more.
        self._lines: Queue[str] = Queue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self, patience: float = 120.0) -> dict[str, Any] | None:
        """Return what is said next, or ``None`` if that is nothing."""
        try:
            line = self._lines.get(timeout=max(0.0, patience))
        except Empty:
            return None
        said: dict[str, Any] | None = json.loads(line or "null")
        return said

    def ask(self, line: str) -> dict[str, Any]:
        self.tell(line)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return what is said next; that it is nothing is an error."""
        said = self.hear()
        if said is None:
            raise RuntimeError(f"A contestant says nothing: {self._process.args!r}.")

        return said

    def end(self) -> None:
        self._process.kill()
        self._listener.join()
        # This waits for it, and closes the pipes.
        with self._process:
            pass


@contextmanager
def processes(programs: Iterable[Sequence[str]]) -> Iterator[list[Process]]:
    """Start the processes; end them afterwards."""
    with ExitStack() as stack:
        found = []
        for each in programs:
            found.append(Process(each))
            stack.callback(found[-1].end)
        yield found


def _started(program: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program,
        cwd=ROOT,
        env=ENVIRON,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def program(
    contestant: str, *arguments: str, python: str = sys.executable
) -> list[str]:
    """Return the command that runs a contestant."""
    return [python, "-m", f"benchmarks.contestants.{contestant}", *arguments]
