"""Servers that belong together: each can be killed, and started again, by itself.

A *topology* is one folder, in which each of its processes has a folder of its own.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from servers import account
from servers.databases import ask
from servers.errors import ServerUnavailable
from servers.installations import Installation
from servers.kinds import LOOPBACK, Kind
from servers.private import folder_of_a_run
from servers.resolution import PROVISION_VARIABLE, installation_for

_LOG_LINES = 40
_STOP_SECONDS = 15.0
_PATIENCE = 90.0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on at this moment, all of them different."""
    with ExitStack() as cleanup:
        probes = [cleanup.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


def installation_with(library: str, kind: Kind) -> tuple[Installation, Path]:
    """Return programs, and a library that they load; fetch both if one is missing.

    :param library: A pattern, below the folder that has the programs' folders.
    :raises ServerUnavailable: If they can't be had.
    """
    provisioning = os.environ.get(PROVISION_VARIABLE, "needed")
    last_resort = "never" if provisioning == "never" else "always"
    for attempt in dict.fromkeys([provisioning, last_resort]):
        environ = {**os.environ, PROVISION_VARIABLE: attempt}
        installation = installation_for(kind, environ, print)
        for path in sorted(installation.prefix.glob(library)):
            return installation, path

    raise ServerUnavailable(
        f"The programs of {kind.name} were found below {str(installation.prefix)!r},"
        f" but no {library!r}. Install it there, or unset {PROVISION_VARIABLE} to have"
        f" it fetched."
    )


class Node:
    """One process of a topology, with a folder and a port of its own."""

    #: Where the process finds the programs that it starts.
    search_path = os.defpath

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.home = folder / name
        self.home.mkdir()
        account.hand_over(self.home)
        self._log = (self.home / "log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> Path:
        """Write a file that only the server's account may read."""
        path = self.home / name
        path.touch(mode=0o600)
        path.write_text(text)
        account.hand_over(path)
        return path

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end in the server's account.

        :raises ServerUnavailable: If it fails.
        """
        tie = account.tie_to_parent(signal.SIGKILL)
        if account.run(command, log=self._log, home=self.home, tie=tie) != 0:
            raise ServerUnavailable(self.failure(f"failed at {command[0]!r}"))

    def serve(
        self, command: Sequence[str], orphan_signal: signal.Signals = signal.SIGKILL
    ) -> None:
        """Start the process; it dies with this one."""
        tie = account.tie_to_parent(orphan_signal)
        self._process = account.start(
            command, log=self._log, home=self.home, tie=tie, path=self.search_path
        )

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and not ended."""
        return self._process is not None

    def await_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Wait for what the server does by itself.

        :raises ServerUnavailable: If it does not, or ends.
        """
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(sa.exc.DBAPIError):
                if is_ready():
                    return
            if self._process is not None and self._process.poll() is not None:
                raise ServerUnavailable(self.failure("has ended"))
            time.sleep(0.05)
        raise ServerUnavailable(self.failure(f"is not {what} after {_PATIENCE} s"))

    def end(self, how: signal.Signals) -> None:
        """Send a signal to the process, if it runs, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return

        account.end(process, how, patience=_STOP_SECONDS)

    def close(self) -> None:
        """End the process, and close its log."""
        self.end(signal.SIGKILL)
        self._log.close()

    def failure(self, what: str) -> str:
        """Return a sentence, with the last lines of the log."""
        lines = (self.home / "log").read_text(errors="replace").splitlines()
        told = "\n".join(f"    {line}" for line in lines[-_LOG_LINES:])
        return f"The node {self.name!r} {what}. The last lines of its log:\n{told}"


class ServerNode(Node):
    """A database server that is one of several."""

    def __init__(
        self,
        folder: Path,
        name: str,
        port: int,
        *,
        kind: Kind,
        installation: Installation,
        password: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, name, port)
        for program in installation.programs.values():
            account.check_access(program)
        self.kind = kind
        self.installation = installation
        folders = {str(path.parent): None for path in installation.programs.values()}
        self.search_path = os.pathsep.join([*folders, os.defpath])
        self.options = options
        self.password = password or secrets.token_hex(16)
        self.data = self.home / "data"

    def initialise(self) -> None:
        """Prepare an empty data folder."""
        self.write("password", self.password)
        self.run(self._fill_in(self.kind.initialise))

    def start(self, *more_options: str, awaits_answer: bool = True) -> None:
        """Start the server, and wait until it answers."""
        options = (*self.kind.serve, *self.options, *more_options)
        self.serve(self._fill_in(options), self.kind.orphan_signal)
        if awaits_answer:
            self.await_until(self.answers, "answering")

    def kill(self) -> None:
        """End the server as a crash would, with all of its processes."""
        self.end(self.kind.orphan_signal)

    def answers(self) -> bool:
        """Tell whether *this* server answers, not another one at the same port."""
        folder = Path(self.ask(self.kind.data_folder_query))
        return folder.resolve() == self.data.resolve()

    def ask(self, query: str) -> str:
        """Return the one value that a query answers, as text."""
        return ask(self.own_url, query)

    def execute(self, *statements: str) -> None:
        """Execute statements as a user who may do everything."""
        engine = sa.create_engine(
            self.own_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    @property
    def own_url(self) -> sa.URL:
        """The URL of what the node itself is asked, or told."""
        return self.url()

    def url(self, driver: str | None = None, port: int | None = None) -> sa.URL:
        """Return the URL under which everything may be done."""
        driver = driver or {"postgresql": "psycopg2"}.get(self.kind.dialect, "pymysql")
        return sa.URL.create(
            f"{self.kind.dialect}+{driver}",
            username=self.kind.user,
            password=self.password if self.kind.has_password else None,
            host=LOOPBACK,
            port=port or self.port,
            database=self.kind.maintenance_database,
        )

    def _fill_in(self, command: Sequence[str]) -> list[str]:
        values = {
            **self.installation.programs,
            "prefix": self.installation.prefix,
            "home": self.home,
            "data": self.data,
            "port": self.port,
        }
        return [part.format(**values) for part in command]


@contextmanager
def folder_for_nodes() -> Iterator[tuple[Path, ExitStack]]:
    """Make the folder of a topology; yield it, and what ends its nodes first."""
    with folder_of_a_run() as folder, ExitStack() as cleanup:
        account.hand_over(folder)
        yield folder, cleanup
