"""A flusher that is asked to end: between bursts, and what a second signal does."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.broker import Broker
from support.models import Note, Parcel, db
from support.signatures import Pending, Record
from support.worker_app import Worker
from swpt_pythonlib.flask_signalbus import SignalBus

StartWorker = Callable[..., Worker]

TERM, INT = signal.SIGTERM, signal.SIGINT

#: Makes a program the first process of a container, as far as signals are concerned.
NAMESPACE = ["unshare", "--map-root-user", "--user", "--pid", "--fork"]


@pytest.mark.parametrize(
    ("arguments", "number", "status"),
    [
        pytest.param(["--repeat", "9"], TERM, 0, id="SIGTERM, repeating"),
        pytest.param(["--repeat", "9"], INT, 0, id="SIGINT, repeating"),
        pytest.param([], TERM, 143, id="SIGTERM, once"),
        pytest.param([], INT, 130, id="SIGINT, once"),
    ],
)
def test_the_burst_in_hand_is_finished_and_committed(
    arguments: list[str],
    number: int,
    status: int,
    start_worker: StartWorker,
    record: Record,
    pending: Pending,
    tmp_path: Path,
) -> None:
    """W1: and no other one is begun."""
    record(Note, *"abcdef")
    (tmp_path / "hold").touch()
    worker = start_worker("Note", *arguments)
    worker.wait_for_file("holding")

    worker.signal(number)
    worker.wait_for_line(f"Received {signal.Signals(number).name}")
    (tmp_path / "go").touch()

    assert worker.end() == status
    assert worker.sent == ["a", "b"]
    assert pending(Note) == list("cdef")


@pytest.mark.parametrize("number", [TERM, INT])
def test_a_pause_ends_at_once(number: int, start_worker: StartWorker) -> None:
    """W1: this test would take an hour."""
    worker = start_worker("Note", "--repeat", "3600")
    worker.wait_for_line("0 signals have been successfully processed.")

    worker.signal(number)

    assert worker.end() == 0


def test_a_pause_of_an_outage_ends_at_once(
    start_worker: StartWorker, record: Record, tmp_path: Path
) -> None:
    """W1, W2."""
    record(Note, *"abcdefghij")
    (tmp_path / "down").touch()
    worker = start_worker("Note", "--repeat", "3600")
    worker.wait_for_line("Caught error")

    worker.signal(TERM)

    assert worker.end() == 0


@pytest.mark.parametrize("obstacle", ["hold", "hang"])
def test_a_second_signal_ends_it_at_once_and_rolls_back(
    obstacle: str,
    start_worker: StartWorker,
    record: Record,
    pending: Pending,
    tmp_path: Path,
) -> None:
    """W1: also if a driver hangs, and Python is not asked."""
    record(Note, *"abc")
    (tmp_path / obstacle).touch()
    worker = start_worker("Note", "--repeat", "9")
    worker.wait_for_file("holding")

    worker.signal(TERM)
    worker.wait_for_line("Received SIGTERM")
    worker.signal(TERM)

    assert worker.end() == 143
    assert worker.sent == []
    assert pending(Note) == list("abc")


def test_a_second_signal_ends_it_as_other_interruptions_do(
    app: Flask, broker: Broker, record: Record, pending: Pending
) -> None:
    """W1, F17: so that what is under way is rolled back, and teardown functions run."""
    ended: list[str] = []

    def signal_twice(_: str) -> None:
        signal.raise_signal(TERM)
        signal.raise_signal(TERM)

    app.teardown_appcontext(lambda _: ended.append("context"))
    record(Note, *"abc")
    broker.meanwhile = signal_twice

    done = app.test_cli_runner().invoke(args=["signalbus", "flushmany"])

    assert done.exit_code == 143
    assert ended == ["context"]
    assert broker.sent == []
    assert pending(Note) == list("abc")


def can_make_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False

    done = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(
    not can_make_namespaces(),
    reason="NOT TESTED: this machine lets nobody be PID 1 (unshare --user --pid).",
)
def test_the_first_process_of_a_container_can_be_stopped(
    start_worker: StartWorker,
    record: Record,
    pending: Pending,
    tmp_path: Path,
) -> None:
    """W1: the kernel ignores a signal that PID 1 has no handler for."""
    record(Note, *"abcd")
    (tmp_path / "hold").touch()
    worker = start_worker("Note", "--repeat", "9", prefix=NAMESPACE)
    worker.wait_for_file("holding")

    worker.signal(TERM)
    worker.wait_for_line("Received SIGTERM")
    (tmp_path / "go").touch()

    assert worker.end() == 0
    assert worker.sent == ["a", "b"]
    assert pending(Note) == ["c", "d"]


def test_the_end_of_a_process_that_a_sender_has_forked_is_its_own(
    start_worker: StartWorker, record: Record, tmp_path: Path
) -> None:
    """W1: it inherits neither the handlers nor what they write to."""
    record(Note, "a")
    (tmp_path / "fork").touch()
    worker = start_worker("Note", "--repeat", "3600")
    worker.wait_for_line("0 signals have been successfully processed.")

    worker.signal(TERM)

    assert worker.end() == 0
    assert worker.log.count("Received") == 1
    assert (tmp_path / "child").read_text() == "15\n"
    assert worker.sent == ["a"]


def test_the_handlers_are_those_from_before_when_the_command_has_ended(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W1: what else runs in the process need not notice."""
    during: list[Any] = []
    broker.meanwhile = lambda _: during.append(signal.getsignal(TERM))
    before = signal.getsignal(TERM), signal.getsignal(INT)
    record(Note, "a")

    app.test_cli_runner().invoke(args=["signalbus", "flushmany"])

    assert (signal.getsignal(TERM), signal.getsignal(INT)) == before
    assert during[0] != before[0]
    assert signal.set_wakeup_fd(-1) == -1


def test_a_flush_that_is_no_command_installs_no_handlers(
    bus: SignalBus, broker: Broker, record: Record
) -> None:
    """W1: they belong to the application."""
    during: list[Any] = []
    broker.meanwhile = lambda _: during.append(signal.getsignal(TERM))
    record(Note, "a")

    bus.flushmany()

    assert during == [signal.getsignal(TERM)]


def test_the_command_works_in_another_thread_too(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W1: which can have no handlers."""
    record(Note, "a")
    db.session.remove()
    codes: list[int] = []

    def run() -> None:
        done = app.test_cli_runner().invoke(args=["signalbus", "flushmany"])
        codes.append(done.exit_code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)

    assert codes == [0]
    assert broker.sent == ["a"]


def test_ctrl_c_that_is_ignored_stays_ignored(
    app: Flask, broker: Broker, record: Record
) -> None:
    """W1: a shell has it ignored by what it starts in the background."""
    during: list[Any] = []
    broker.meanwhile = lambda _: during.append(signal.getsignal(INT))
    record(Note, "a")
    before = signal.signal(INT, signal.SIG_IGN)

    try:
        app.test_cli_runner().invoke(args=["signalbus", "flushmany"])
    finally:
        signal.signal(INT, before)

    assert during == [signal.SIG_IGN]


def test_a_flush_can_be_stopped_before_any_burst(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """W1: also between models; what has been sent is counted."""
    record(Note, *"abcdef")
    record(Parcel, "g")

    sent = bus.flushmany(should_stop=lambda: len(broker.sent) >= 3)

    assert sent == 3
    assert pending(Note) == list("def")
    assert pending(Parcel) == ["g"]


def test_a_burst_that_is_taken_apart_can_be_stopped_too(
    bus: SignalBus, broker: Broker, record: Record, pending: Pending
) -> None:
    """W1, F9: what is known to have been sent is deleted first."""
    record(Note, *"abc")
    broker.refuse("b")

    with pytest.raises(Exception, match="b"):
        bus.flushmany([Note], should_stop=lambda: len(broker.calls) >= 3)

    assert broker.sent == ["a"]
    assert pending(Note) == ["b", "c"]


def test_a_burst_that_loses_races_can_be_stopped(
    bus: SignalBus, broker: Broker, record: Record, lost_races: Any
) -> None:
    """W1, F10: or else it would be tried again for a minute."""
    record(Note, "a")
    lost_races.at_deletions(3)
    asked: list[str] = []

    def should_stop() -> bool:
        asked.append("")
        return bool(lost_races.lost == 2)

    assert bus.flushmany([Note], should_stop=should_stop) == 0
    assert lost_races.lost == 2
    assert broker.calls == []
