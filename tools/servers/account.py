"""As whom a server runs, and what dies with whom.

Database servers refuse to run as root, so they drop to an account without any
rights. They must never outlive the program that started them.
"""

import ctypes
import os
import pwd
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from servers.errors import ServerUnavailable

#: Owns nothing and exists everywhere.
_UNPRIVILEGED = "nobody"

_PR_SET_PDEATHSIG = 1
_PATIENCE = 120.0
_LIBC = ctypes.CDLL(None, use_errno=True)


def hand_over(path: Path) -> None:
    """Make a file or folder the server's own."""
    if _is_root():
        shutil.chown(path, _UNPRIVILEGED, _group())


def check_access(program: Path) -> None:
    """Check that the server's account can run a program.

    :raises ServerUnavailable: If it can't, as inside the home folder of root.
    """
    obstacle = closed_to_others(program) if _is_root() else None
    if obstacle is not None:
        raise ServerUnavailable(
            f"The account {_UNPRIVILEGED!r}, as which servers run when root starts "
            f"them, may not enter {str(obstacle)!r} to run {program.name!r}. "
            f"Put the programs where everybody can run them."
        )


def closed_to_others(program: Path) -> Path | None:
    """Return what keeps everybody else from running a program, if anything does."""
    path = program.resolve()
    return next(
        (
            step
            for step in (*reversed(path.parents), path)
            if not step.stat().st_mode & stat.S_IXOTH
        ),
        None,
    )


def run(
    command: Sequence[str], *, log: IO[bytes], home: Path, tie: Callable[[], None]
) -> int:
    """Run a command to its end in the server's account; return its exit code."""
    options = _options(log, home)
    return subprocess.run(
        command, **options, preexec_fn=tie, timeout=_PATIENCE
    ).returncode


def start(
    command: Sequence[str],
    *,
    log: IO[bytes],
    home: Path,
    tie: Callable[[], None] | None,
    path: str = os.defpath,
    environ: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a server.

    :param tie: What :func:`tie_to_parent` returned; ``None`` lets the server outlive
        this process.
    :param path: Where it finds the programs that it starts itself.
    :param environ: What the server's environment has besides the usual.
    """
    options = _options(log, home, path)
    options["env"] |= environ or {}
    return subprocess.Popen(command, **options, preexec_fn=tie, start_new_session=True)


def tie_to_parent(orphan_signal: signal.Signals) -> Callable[[], None]:
    """Return what a child process calls to get a signal when this process is gone.

    :raises RuntimeError: If it isn't the main thread that asks, because the kernel
        sends the signal already when the thread ends that started the child.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("A private server can only be started by the main thread.")

    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, orphan_signal)
        # The parent may have died before the kernel was told.
        if os.getppid() != parent:
            os._exit(1)

    return tie


def end(process: "subprocess.Popen[bytes]", how: int, *, patience: float) -> None:
    """Send a signal to a server, and wait until it has ended; then kill it."""
    process.send_signal(how)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _options(log: IO[bytes], home: Path, path: str = os.defpath) -> dict[str, Any]:
    options: dict[str, Any] = {
        "cwd": home,
        "stdin": subprocess.DEVNULL,
        "stdout": log,
        "stderr": subprocess.STDOUT,
        # A locale or an option from outside would make runs differ.
        "env": {"PATH": path, "HOME": str(home), "TZ": "UTC", "LC_ALL": "C"},
    }
    if _is_root():
        options |= {"user": _UNPRIVILEGED, "group": _group(), "extra_groups": []}
    return options


def _is_root() -> bool:
    return os.geteuid() == 0


def _group() -> int:
    return pwd.getpwnam(_UNPRIVILEGED).pw_gid
