"""A private server: a folder, a process and a free port, all for one run."""

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from servers import account
from servers.databases import ask
from servers.errors import ServerUnavailable
from servers.installations import Installation
from servers.kinds import LOOPBACK, Kind

HOME_PREFIX = "fsb-"
_LOCK_NAME = "owner.lock"
_ATTEMPTS = 3
_LOG_LINES = 40
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    kind: Kind,
    installation: Installation,
    *,
    driver: str,
    keep: bool = False,
    choose_port: Callable[[], int] = free_port,
) -> Iterator[sa.URL]:
    """Run a private server; yield the URL under which it may do everything.

    :param keep: Leave the server and its folder there when the run has ended.
    :raises ServerUnavailable: If the server doesn't come up.
    """
    sweep()
    server = _PrivateServer(kind, installation, driver=driver, keep=keep)
    try:
        yield server.start(choose_port)
    finally:
        if not keep:
            server.remove()


@contextmanager
def folder_of_a_run() -> Iterator[Path]:
    """Make a folder for servers; a later run removes it if this one is killed."""
    sweep()
    # A socket's path has room for about 100 characters, so not the tests' folder.
    folder = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    lock = claim(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(lock)


class _PrivateServer:
    def __init__(
        self, kind: Kind, installation: Installation, *, driver: str, keep: bool
    ) -> None:
        for program in installation.programs.values():
            account.check_access(program)

        self._kind = kind
        self._installation = installation
        self._driver = driver
        self._tie = account.tie_to_parent(kind.orphan_signal)
        self._keep = keep
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        # A socket's path has room for about 100 characters, so not the tests' folder.
        self._home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
        self._lock = None if keep else claim(self._home)
        self._log = (self._home / "log").open("wb")

    def start(self, choose_port: Callable[[], int]) -> sa.URL:
        self._initialise()
        for _ in range(_ATTEMPTS):
            port = choose_port()
            url = self._url(port)
            if self._comes_up(port, url):
                return url
            # Only another program that was faster at this port is worth a new try.
            if not _is_taken(port):
                break
        raise ServerUnavailable(self._failure("did not start"))

    def remove(self) -> None:
        if self._process is not None:
            self._stop(self._process)
        self._log.close()
        shutil.rmtree(self._home)
        if self._lock is not None:
            os.close(self._lock)

    def _initialise(self) -> None:
        password_file = self._home / "password"
        password_file.write_text(self._password)
        account.hand_over(password_file)
        account.hand_over(self._home)
        command = self._fill_in(self._kind.initialise)
        exit_code = account.run(command, log=self._log, home=self._home, tie=self._tie)
        if exit_code != 0:
            raise ServerUnavailable(self._failure("could not prepare its data folder"))

    def _comes_up(self, port: int, url: sa.URL) -> bool:
        command = self._fill_in(self._kind.serve, port=port)
        self._process = account.start(
            command,
            log=self._log,
            home=self._home,
            tie=None if self._keep else self._tie,
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if self._answers(url):
                return True
            time.sleep(0.05)
        raise ServerUnavailable(self._failure(f"said nothing for {_START_SECONDS} s"))

    def _answers(self, url: sa.URL) -> bool:
        """Tell whether *this* server answers, not another one at the same port."""
        with suppress(sa.exc.DBAPIError):
            folder = Path(ask(url, self._kind.data_folder_query))
            return folder.resolve() == self._data.resolve()
        return False

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        account.end(process, self._kind.stop_signal, patience=_STOP_SECONDS)

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _url(self, port: int) -> sa.URL:
        return sa.URL.create(
            f"{self._kind.dialect}+{self._driver}",
            username=self._kind.user,
            password=self._password if self._kind.has_password else None,
            host=LOOPBACK,
            port=port,
            database=self._kind.maintenance_database,
        )

    def _fill_in(self, command: Sequence[str], port: int = 0) -> list[str]:
        values = {
            **self._installation.programs,
            "prefix": self._installation.prefix,
            "home": self._home,
            "data": self._data,
            "port": port,
        }
        return [part.format(**values) for part in command]

    def _failure(self, what: str) -> str:
        lines = (self._home / "log").read_text(errors="replace").splitlines()
        program = next(iter(self._installation.programs.values()))
        return "\n".join(
            [
                f"The {self._kind.name} server {str(program)!r} {what}. "
                f"The last lines of its log:",
                *(f"    {line}" for line in lines[-_LOG_LINES:]),
            ]
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def claim(home: Path) -> int:
    """Keep others from sweeping a folder away for as long as this process lives."""
    # Locked first, named afterwards: no other run sees it unlocked.
    unnamed = home / "new.lock"
    lock = _lock(unnamed)
    unnamed.rename(home / _LOCK_NAME)
    return lock


def _lock(path: Path) -> int:
    """Hold a file for as long as this process lives, however it ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def sweep() -> None:
    """Remove the folders of runs that were killed; their servers died with them."""
    for path in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*/{_LOCK_NAME}"):
        with suppress(OSError):
            lock = _lock(path)
            shutil.rmtree(path.parent)
            os.close(lock)
