"""A PostgreSQL server with a standby, which can be promoted."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import sqlalchemy as sa

from servers.kinds import KINDS, LOOPBACK
from servers.resolution import installation_for
from servers.topologies.nodes import ServerNode, folder_for_nodes, free_ports

_KIND = replace(
    KINDS["postgresql"],
    url_is_of="",  # they are always started
    name="postgres-failover",
    programs=("postgres", "initdb", "pg_basebackup"),
)

#: The option by which private servers gain speed would acknowledge too early.
_DURABLE = "-csynchronous_commit=on"
_SYNCHRONOUS = "-csynchronous_standby_names=*"


class Pair:
    """A primary and its standby.

    :param primary: Runs when the pair is made.
    :param standby: Follows the primary.
    """

    def __init__(self, primary: ServerNode, standby: ServerNode) -> None:
        self.primary = primary
        self.standby = standby

    def url(self, driver: str) -> sa.URL:
        """Return the URL of whichever of them takes writes."""
        query = {
            "host": [
                f"{LOOPBACK}:{self.primary.port}",
                f"{LOOPBACK}:{self.standby.port}",
            ],
            "target_session_attrs": "read-write",
            "connect_timeout": "3",
        }
        url = self.primary.url(driver).set(host=None, port=None)
        return url.set(query=query)

    def promote(self) -> None:
        """Make the standby a primary of its own."""
        self.standby.ask("SELECT pg_promote()")

    def await_standby(self) -> None:
        """Wait until the standby has everything that the primary has."""
        position = self.primary.ask("SELECT pg_current_wal_flush_lsn()")
        query = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        self.standby.await_until(
            lambda: self.standby.ask(query) == "True", "up to date"
        )


@contextmanager
def primary_and_standby(*, synchronous: bool) -> Iterator[Pair]:
    """Start a primary, and a standby that follows it.

    :param synchronous: Whether a COMMIT waits for the standby.
    :raises ServerUnavailable: If there is no PostgreSQL, and it cannot be fetched.
    """
    installation = installation_for(_KIND, os.environ, print)
    with folder_for_nodes() as (folder, cleanup):
        ports = free_ports(2)
        primary = ServerNode(
            folder, "primary", ports[0], kind=_KIND, installation=installation
        )
        cleanup.enter_context(closing(primary))
        primary.initialise()
        primary.start(_DURABLE)
        standby = ServerNode(
            folder,
            "standby",
            ports[1],
            kind=_KIND,
            installation=installation,
            password=primary.password,
        )
        cleanup.enter_context(closing(standby))
        _copy(primary, standby)
        standby.start(
            _DURABLE, "-chot_standby=on", "-cwal_retrieve_retry_interval=200ms"
        )
        pair = Pair(primary, standby)
        if synchronous:
            primary.kill()
            primary.start(_DURABLE, _SYNCHRONOUS)
        primary.await_until(lambda: _is_followed(primary, synchronous), "followed")
        yield pair


def _copy(primary: ServerNode, standby: ServerNode) -> None:
    password = f"{LOOPBACK}:{primary.port}:*:{primary.kind.user}:{primary.password}\n"
    passfile = standby.write("passfile", password)
    source = {
        "host": LOOPBACK,
        "port": primary.port,
        "user": primary.kind.user,
        "passfile": passfile,
    }
    standby.run(
        [
            str(standby.installation.programs["pg_basebackup"]),
            "--dbname=" + " ".join(f"{key}={value}" for key, value in source.items()),
            f"--pgdata={standby.data}",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ]
    )


def _is_followed(primary: ServerNode, synchronous: bool) -> bool:
    state = "sync" if synchronous else "async"
    query = (
        "SELECT count(*) FROM pg_stat_replication"
        f" WHERE state = 'streaming' AND sync_state = '{state}'"
    )
    return primary.ask(query) == "1"
