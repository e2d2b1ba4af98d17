"""A Galera cluster of three MariaDB servers."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from servers.kinds import KINDS, LOOPBACK
from servers.topologies.nodes import (
    ServerNode,
    folder_for_nodes,
    free_ports,
    installation_with,
)

_NODES = 3
_LIBRARY = "lib*/galera*/libgalera_smm.so"

_KIND = replace(
    KINDS["mariadb"],
    url_is_of="",  # they are always started
    name="galera",
    programs=(*KINDS["mariadb"].programs, "rsync", "wsrep_sst_rsync"),
)

_PROVIDER_OPTIONS = {
    "base_host": LOOPBACK,
    "gcache.size": "32M",
    "pc.recovery": "false",
    # A node that has died is missed sooner.
    "evs.keepalive_period": "PT0.3S",
    "evs.inactive_check_period": "PT0.3S",
    "evs.suspect_timeout": "PT2S",
    "evs.inactive_timeout": "PT4S",
    "evs.install_timeout": "PT4S",
}


class GaleraNode(ServerNode):
    """A node, with the ports by which the others reach it."""

    group_port: int
    incremental_port: int
    transfer_port: int

    @property
    def own_url(self) -> sa.URL:
        """The URL of what the node is asked, even if it refuses all others."""
        setting = {"init_command": "SET SESSION wsrep_dirty_reads = ON"}
        return self.url().update_query_dict(setting)

    @property
    def is_synced(self) -> bool:
        """Whether the node has everything that the cluster has."""
        return self.status("local_state_comment") == "Synced"

    @property
    def is_in_majority(self) -> bool:
        """Whether the node sees more than half of the cluster."""
        return self.status("cluster_status") == "Primary"

    def status(self, name: str) -> str:
        """Return a status variable of Galera."""
        return self.ask(
            "SELECT variable_value FROM information_schema.global_status"
            f" WHERE variable_name = 'wsrep_{name}'"
        )


class Galera:
    """The nodes of a cluster."""

    def __init__(self, nodes: list[GaleraNode]) -> None:
        self.nodes = nodes

    def start(self) -> None:
        """Start a new cluster."""
        first, *others = self.nodes
        first.start("--wsrep-cluster-address=gcomm://")
        first.await_until(lambda: first.is_synced, "synced")
        for node in others:
            self.join(node)

    def settle(self) -> None:
        """Wait until each node has what others have committed by now."""
        for node in self.nodes:
            node.execute("SET SESSION wsrep_sync_wait = 1", "SELECT 1 FROM mysql.user")

    def join(self, node: GaleraNode) -> None:
        """Start a node, which gets from the others what it lacks."""
        others = ",".join(f"{LOOPBACK}:{each.group_port}" for each in self.nodes)
        node.start(f"--wsrep-cluster-address=gcomm://{others}")
        node.await_until(lambda: node.is_synced, "synced")


@contextmanager
def galera() -> Iterator[Galera]:
    """Start a cluster of three nodes.

    :raises ServerUnavailable: If there is no Galera, and it cannot be fetched.
    """
    installation, library = installation_with(_LIBRARY, _KIND)
    with folder_for_nodes() as (folder, cleanup):
        ports = iter(free_ports(4 * _NODES))
        nodes = []
        for number in range(_NODES):
            node = GaleraNode(
                folder,
                f"node{number}",
                next(ports),
                kind=_KIND,
                installation=installation,
            )
            cleanup.enter_context(closing(node))
            node.group_port = next(ports)
            node.incremental_port = next(ports)
            node.transfer_port = next(ports)
            node.options = _options(node, library)
            node.initialise()
            nodes.append(node)
        cluster = Galera(nodes)
        cluster.start()
        yield cluster


def _options(node: GaleraNode, library: Path) -> tuple[str, ...]:
    provider_options = {
        **_PROVIDER_OPTIONS,
        "base_port": node.group_port,
        "gmcast.listen_addr": f"tcp://{LOOPBACK}:{node.group_port}",
        "ist.recv_addr": f"{LOOPBACK}:{node.incremental_port}",
    }
    return (
        "--wsrep-on=ON",
        f"--wsrep-provider={library}",
        "--wsrep-sst-method=rsync",
        f"--wsrep-node-name={node.name}",
        f"--wsrep-node-address={LOOPBACK}:{node.group_port}",
        f"--wsrep-node-incoming-address={LOOPBACK}:{node.port}",
        f"--wsrep-sst-receive-address={LOOPBACK}:{node.transfer_port}",
        "--wsrep-provider-options="
        + ";".join(f"{key}={value}" for key, value in provider_options.items()),
        "--binlog-format=ROW",
        "--innodb-autoinc-lock-mode=2",
    )
