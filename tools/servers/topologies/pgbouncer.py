"""PgBouncer in front of a PostgreSQL server."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from servers.databases import ask
from servers.kinds import KINDS, LOOPBACK, Kind, version_numbers
from servers.resolution import installation_for
from servers.topologies.nodes import Node, ServerNode, folder_for_nodes, free_ports

_KIND = Kind(
    url_is_of="",  # they are always started
    name="pgbouncer",
    dialect="postgresql",
    version_pattern=r"PgBouncer (\d+(?:\.\d+)*)",
    programs=("pgbouncer",),
    places=("/usr/sbin", "/usr/bin", "/usr/local/bin"),
    oldest=(1, 18),
    user="postgres",
    has_password=True,
    maintenance_database="postgres",
    data_folder_query="",
    initialise=(),
    serve=(),
    stop_signal=signal.SIGINT,
    orphan_signal=signal.SIGKILL,
)

_SETTINGS = """\
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = {pool_size}
# Each transaction gets another connection: what leaks from one is seen at once.
server_round_robin = 1
ignore_startup_parameters = extra_float_digits, options
{more}
"""

#: From 1.21 on it can keep track of prepared statements; these are about one that
#: does not.
_TRACKS = (1, 21)


class PgBouncer:
    """A server, and the pooler in front of it."""

    def __init__(self, folder: Path, program: Path, version: str) -> None:
        kind = KINDS["postgresql"]
        installation = installation_for(kind, os.environ, print)
        server_port, port = free_ports(2)
        self.server = ServerNode(
            folder, "server", server_port, kind=kind, installation=installation
        )
        self.version = version
        self._program = program
        self._pooler = Node(folder, "pooler", port)
        users = f'"{kind.user}" "{self.server.password}"\n'
        self._users = self._pooler.write("users", users)

    def start(self, mode: str, pool_size: int) -> None:
        """Start the pooler anew.

        :param mode: ``session`` or ``transaction``.
        """
        tracks = version_numbers(self.version) >= _TRACKS
        settings = self._pooler.write(
            "pgbouncer.ini",
            _SETTINGS.format(
                host=LOOPBACK,
                server_port=self.server.port,
                port=self._pooler.port,
                users=self._users,
                mode=mode,
                pool_size=pool_size,
                more="max_prepared_statements = 0" if tracks else "",
            ),
        )
        self._pooler.end(signal.SIGKILL)
        self._pooler.serve([str(self._program), str(settings)])
        self._pooler.await_until(self._answers, "answering")

    def url(self, driver: str) -> sa.URL:
        """Return the URL of the pooler."""
        return self.server.url(driver, self._pooler.port)

    def close(self) -> None:
        """End both."""
        self._pooler.close()
        self.server.close()

    def _answers(self) -> bool:
        return ask(self.url("psycopg2"), "SHOW port") == str(self.server.port)


@contextmanager
def pgbouncer() -> Iterator[PgBouncer]:
    """Start a server; its pooler is to be started in a mode.

    :raises ServerUnavailable: If there is no PgBouncer, and it cannot be fetched.
    """
    installation = installation_for(_KIND, os.environ, print)
    program = installation.programs["pgbouncer"]
    with folder_for_nodes() as (folder, cleanup):
        pair = PgBouncer(folder, program, installation.version)
        cleanup.enter_context(closing(pair))
        pair.server.initialise()
        pair.server.start()
        yield pair
