"""An application for 'flask signalbus flushmany', whose sends a test can hold.

It runs in a process of its own, and shares a folder with the test. A message that is
sent is a line of the file "sent" there; by the files "hold", "holding" and "go" the
test and the sender wait for each other.
"""

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from signal import SIG_DFL, SIGINT
from signal import signal as handle
from typing import IO, Any

import psutil
from flask import Flask

from support.models import Note, db
from support.sqlite_settings import set_up_sqlite

_TESTS = Path(__file__).parents[1]
_TIMEOUT = 60.0


def _heed_ctrl_c() -> None:
    """Do not inherit that SIGINT is ignored, as where tests run in the background."""
    handle(SIGINT, SIG_DFL)


class Worker:
    """A process that runs 'flask signalbus flushmany'."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *arguments: str,
        prefix: Iterable[str] = (),
        stderr: IO[bytes] | int | None = None,
    ) -> None:
        self.folder = folder
        self._log = folder / "log"
        command = [sys.executable, "-m", "flask", "--app", __name__, "signalbus"]
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [*prefix, *command, "flushmany", *arguments],
                cwd=_TESTS,
                env=os.environ
                | {"WORKER_URL": url, "WORKER_FOLDER": str(folder)}
                | {"PYTHONPATH": str(_TESTS)},
                stdout=subprocess.PIPE,
                stderr=log if stderr is None else stderr,
                preexec_fn=_heed_ctrl_c,
            )

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def sent(self) -> list[str]:
        """The texts that it has sent."""
        return lines(self.folder / "sent")

    def wait_for_line(self, text: str) -> None:
        """Wait until something has been logged."""
        wait_until(lambda: text in self.log, lambda: self.log)

    def wait_for_file(self, name: str) -> None:
        """Wait for the sender."""
        wait_until((self.folder / name).exists, lambda: self.log)

    def signal(self, number: int) -> None:
        """Send a signal to it, though it may be the child of its prefix."""
        process = psutil.Process(self._popen.pid)
        [*_, flask] = [process, *process.children(recursive=False)]
        flask.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        out, _ = self._popen.communicate(timeout=_TIMEOUT)
        assert out == b""
        return self._popen.returncode

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self._popen.kill()
        self._popen.communicate(timeout=_TIMEOUT)


def wait_until(condition: Any, explain: Any = str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + _TIMEOUT
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    """Return the lines of a file, if there is one."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


class HoldingBroker:
    """A broker that a test can make wait, hang, or break down, by files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, signals: Iterable[Any]) -> None:
        """Store the messages of one call; wait before each if the test wants it."""
        for signal in signals:
            if (self._folder / "down").exists():
                raise ConnectionRefusedError("The broker is down.")
            if (self._folder / "hang").exists():
                self._hang()
            if (self._folder / "fork").exists():
                self._fork()
            if (self._folder / "hold").exists():
                (self._folder / "holding").touch()
                wait_until((self._folder / "go").exists)
            with (self._folder / "sent").open("a", encoding="utf-8") as file:
                file.write(f"{signal.text}\n")

    def _hang(self) -> None:
        """Hang in the code of a driver, which heeds no signals."""
        path = self._folder / "locked"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        (self._folder / "holding").touch()
        sqlite3.connect(path, timeout=_TIMEOUT).execute("BEGIN IMMEDIATE")

    def _fork(self) -> None:
        """Start a process, and end it as 'multiprocessing' does."""
        if (child := os.fork()) == 0:
            (self._folder / "forked").touch()
            time.sleep(_TIMEOUT)
            os._exit(0)
        wait_until((self._folder / "forked").exists)
        os.kill(child, 15)
        _, status = os.waitpid(child, 0)
        (self._folder / "fork").unlink()
        (self._folder / "child").write_text(f"{os.WTERMSIG(status)}\n")


def create_app() -> Flask:
    """Make the application; Flask calls it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    app = Flask("worker")
    url = os.environ["WORKER_URL"]
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.extensions["broker"] = HoldingBroker(Path(os.environ["WORKER_FOLDER"]))
    Note.signalbus_burst_count = 2
    db.init_app(app)
    with app.app_context():
        set_up_sqlite(db.engine)
    return app
