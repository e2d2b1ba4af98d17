"""The options of the command for those who run it: liveness, progress, names."""

import io
import os
import pty
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from support.broker import Broker
from support.models import Note, Parcel, db
from support.signatures import Record
from support.worker_app import Worker
from swpt_pythonlib.flask_signalbus._worker import Flusher
from swpt_pythonlib.flask_signalbus.signalbus_cli import flushmany

StartWorker = Callable[..., Worker]


@pytest.fixture
def run(app: Flask) -> Any:
    def run(*args: str) -> Result:
        return app.test_cli_runner().invoke(args=["signalbus", *args])

    return run


def be_old(path: Path) -> None:
    """Make a file look as if it had been touched long ago."""
    os.utime(path, (1.0, 1.0))


def is_old(path: Path) -> bool:
    return path.stat().st_mtime == 1.0


def test_the_liveness_file_is_touched_at_each_burst(
    run: Any, broker: Broker, record: Record, tmp_path: Path
) -> None:
    """W3: so a sender that hangs stops it."""
    path = tmp_path / "alive"
    touched: list[bool] = []

    def look(_: str) -> None:
        touched.append(path.exists() and not is_old(path))
        be_old(path)

    record(Parcel, *"abcdefg")
    broker.meanwhile = look

    run("flushmany", "--liveness-file", str(path), "Parcel")

    # Three bursts, of three signals, three, and one.
    assert touched == [True, False, False, True, False, False, True]
    assert not is_old(path)


def test_the_liveness_file_is_touched_at_the_end_of_a_flush_that_failed(
    run: Any, app: Flask, broker: Broker, record: Record, tmp_path: Path
) -> None:
    """W3: it says that the loop turns, and not that something is sent."""
    path = tmp_path / "alive"
    touched: list[bool] = []

    def end(_: BaseException | None) -> None:
        touched.append(not is_old(path))
        be_old(path)

    app.teardown_appcontext(end)
    record(Note, "a")
    broker.go_down()

    done = run("flushmany", "--liveness-file", str(path))

    assert done.exit_code == 1
    assert touched == [True]
    assert not is_old(path)


def test_a_liveness_file_that_cannot_be_touched_does_no_harm(
    run: Any,
    broker: Broker,
    record: Record,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """W3: it is logged once."""
    record(Note, *"abcdefg")

    done = run("flushmany", "--liveness-file", str(tmp_path / "missing" / "alive"))

    assert done.exit_code == 0
    assert len(broker.sent) == 7
    assert caplog.messages.count("The liveness file cannot be touched.") == 1


def test_a_liveness_file_that_cannot_be_touched_again_is_told_of_again(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """W3, W2: and its return; a full disk must not look like a sender that hangs."""
    folder = tmp_path / "volume"
    flusher = Flusher(app, lambda _: None, stop=Event(), liveness_file=folder / "alive")
    for is_there in (False, True, True, False):
        shutil.rmtree(folder, ignore_errors=True)
        if is_there:
            folder.mkdir()
        flusher.touch()
        flusher.touch()

    assert [" ".join(message.split()[:3]) for message in caplog.messages] == [
        "The liveness file",
        "Recovered from FileNotFoundError",
        "The liveness file",
    ]


def run_on_terminal(start_worker: StartWorker, *arguments: str) -> str:
    """Run the command with its standard error on a terminal; return what it shows."""
    here, there = pty.openpty()
    worker = start_worker("Note", *arguments, stderr=there)
    os.close(there)
    shown = b""
    try:
        while chunk := os.read(here, 1024):
            shown += chunk
    except OSError:  # Linux says so that the other end is closed
        pass
    os.close(here)

    assert worker.end() == 0
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="There are no such terminals.")
def test_a_terminal_shows_the_progress(
    start_worker: StartWorker, record: Record
) -> None:
    """W5: with the rate, and nothing goes to the standard output."""
    record(Note, *"abcd")

    shown = run_on_terminal(start_worker)

    assert "Flushing" in shown
    assert "2/4" in shown
    assert "4/4" in shown
    assert "/s" in shown


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("app", "broker")
@pytest.mark.parametrize("is_countable", [True, False])
def test_progress_is_shown_of_what_can_be_counted(
    is_countable: bool, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W5: or else the flush tells what is wrong."""
    record(Parcel, *"abcdef")
    db.session.remove()
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    if not is_countable:
        db.metadata.tables["receipt"].drop(db.engine)
        db.metadata.tables["parcel"].drop(db.engine)

    try:
        with pytest.raises(SystemExit) as ended:
            flushmany.main(["Parcel"], standalone_mode=False)
    finally:
        db.metadata.create_all(db.engine)

    assert ended.value.code == (0 if is_countable else 1)
    assert ("6/6" in terminal.getvalue()) == is_countable


@pytest.mark.skipif(sys.platform == "win32", reason="There are no such terminals.")
def test_a_terminal_shows_no_progress_if_it_is_not_wanted(
    start_worker: StartWorker, record: Record
) -> None:
    """W5."""
    record(Note, *"abcd")

    assert "4/4" not in run_on_terminal(start_worker, "--quiet")


def test_a_pipe_is_never_shown_any_progress(
    start_worker: StartWorker, record: Record
) -> None:
    """W5: a log must not be full of bars."""
    record(Note, *"abcd")
    worker = start_worker("Note")

    assert worker.end() == 0
    assert "4/4" not in worker.log
    assert "4 signals have been successfully processed." in worker.log


def test_a_worker_without_any_known_name_refuses_to_start(run: Any) -> None:
    """C1: it would idle for ever."""
    done = run("flushmany", "--repeat", "5", "Odrer")

    assert done.exit_code == 1
    assert "nothing to flush" in done.output
