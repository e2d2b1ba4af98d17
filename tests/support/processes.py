"""Processes of their own that record and flush, as in production.

Each is started with the URL of a database, and says on its standard output what it
has done, as JSON. A message that is sent is a line of a file, which outlives the
process.
"""

import json
import random
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from support import models
from support.models import db
from support.sqlite_settings import set_up_sqlite

_TESTS = Path(__file__).parents[1]
_TIMEOUT = 120


class Process:
    """A process that runs one of the functions below."""

    def __init__(self, name: str, **arguments: Any) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", __name__, name, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_TESTS,
        )

    def result(self) -> Any:
        """Wait for the end, and return what the function returned."""
        out, err = self._popen.communicate(timeout=_TIMEOUT)
        if self._popen.returncode != 0:
            raise AssertionError(f"A process has failed:\n{err}")

        return json.loads(out)

    def kill(self) -> None:
        """Kill the process, without a chance to clean up, unless it has ended."""
        self._popen.kill()
        self._popen.communicate(timeout=_TIMEOUT)


def record(url: str, level: str | None, model: str, first: int, count: int) -> float:
    """Record signals in small transactions; return the seconds of the longest one."""
    seconds = [0.0]
    random.seed(first)
    with _app(url, level):
        numbers = list(range(first, first + count))
        while numbers:
            size = random.randint(1, 9)
            batch, numbers = numbers[:size], numbers[size:]
            started = time.monotonic()
            db.session.add_all(_signal(model, number) for number in batch)
            db.session.commit()
            seconds.append(time.monotonic() - started)

    return max(seconds)


def flush(
    url: str, level: str | None, model: str, burst: int, sent: str, no_more: str
) -> int:
    """Flush until nothing more comes; return how many signals were sent."""
    flushed = 0
    with _app(url, level) as app, Path(sent).open("ab", buffering=0) as file:
        app.extensions["broker"] = FileBroker(file)
        chosen = getattr(models, model)
        chosen.signalbus_burst_count = burst
        while True:
            is_last = Path(no_more).exists()
            count = db.signalbus.flushmany([chosen])
            flushed += count
            if is_last and not count:
                return flushed


def flush_once(url: str, model: str, burst: int) -> tuple[int, int]:
    """Flush to nowhere; return the count, and the growth of the peak of memory."""
    with _app(url, None) as app:
        app.extensions["broker"] = NullBroker()
        chosen = getattr(models, model)
        chosen.signalbus_burst_count = burst
        count = db.signalbus.flushmany([chosen])

    return count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class FileBroker:
    """A broker that stores each message at once."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def take(self, signals: Any) -> None:
        """Append the messages of one call."""
        lines = "".join(f"{signal.text}\n" for signal in signals)
        self._file.write(lines.encode())


class NullBroker:
    """A broker that forgets."""

    def take(self, signals: Any) -> None:
        """Take the messages of one call."""


@contextmanager
def _app(url: str, level: str | None) -> Iterator[Flask]:
    app = Flask("process")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    options: dict[str, Any] = {"isolation_level": level} if level else {}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": 60}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    with app.app_context():
        set_up_sqlite(db.engine)
        yield app


def _signal(model: str, number: int) -> Any:
    keys: dict[str, dict[str, Any]] = {
        "Pair": {"a": number % 3, "b": random.getrandbits(31)},
        "Letter": {"user_id": f"u{number % 3}", "letter_id": random.getrandbits(31)},
        "Ticket": {"id": uuid.UUID(int=random.getrandbits(128), version=4)},
    }
    return getattr(models, model)(text=str(number), **keys.get(model, {}))


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
