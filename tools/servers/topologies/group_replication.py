"""A replication group of three MySQL servers."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from servers.kinds import KINDS, LOOPBACK
from servers.topologies.nodes import (
    ServerNode,
    folder_for_nodes,
    free_ports,
    installation_with,
)

_NODES = 3
_KIND = KINDS["mysql"]
_PLUGIN = "lib*/mysql/plugin/group_replication.so"

#: Nobody else can reach the group; it needs no password that would be one.
_CHANNEL = (
    "SET SQL_LOG_BIN = 0",
    "CREATE USER replica IDENTIFIED BY 'replica'",
    "GRANT REPLICATION SLAVE, BACKUP_ADMIN, GROUP_REPLICATION_STREAM,"
    " CONNECTION_ADMIN ON *.* TO replica",
    "SET SQL_LOG_BIN = 1",
    "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'replica',"
    " SOURCE_PASSWORD = 'replica' FOR CHANNEL 'group_replication_recovery'",
)


class GroupNode(ServerNode):
    """A member of the group."""

    group_port: int

    @property
    def uuid(self) -> str:
        """What the group calls the member."""
        return self.ask("SELECT @@server_uuid")

    def sees_all(self) -> bool:
        """Tell whether all members are online, as far as this one knows."""
        query = (
            "SELECT count(*) FROM performance_schema.replication_group_members"
            " WHERE member_state = 'ONLINE'"
        )
        return self.ask(query) == str(_NODES)

    def await_all_of(self, other: "GroupNode") -> None:
        """Wait until this member has what another one has committed by now."""
        done = other.ask("SELECT @@gtid_executed")
        query = f"SELECT GTID_SUBSET('{done}', @@gtid_executed)"
        self.await_until(lambda: self.ask(query) == "1", "up to date")

    def takes_writes(self) -> bool:
        """Tell whether this member is a primary."""
        return self.ask("SELECT @@super_read_only") == "0"


class Group:
    """The members of a group."""

    def __init__(self, nodes: list[GroupNode]) -> None:
        self.nodes = nodes

    def start(self) -> None:
        """Start the servers, and form the group."""
        for node in self.nodes:
            node.start()
            node.execute(*_CHANNEL)
        first, *others = self.nodes
        first.execute(
            "SET GLOBAL group_replication_bootstrap_group = ON",
            "START GROUP_REPLICATION",
            "SET GLOBAL group_replication_bootstrap_group = OFF",
        )
        for node in others:
            node.execute("START GROUP_REPLICATION")
        for node in self.nodes:
            node.await_until(node.sees_all, "in the group")

    def restore(self) -> None:
        """Have all members in the group again, and the first one as the primary."""
        for node in self.nodes:
            if not node.is_running:
                node.start()
                node.execute("START GROUP_REPLICATION")
        for node in self.nodes:
            node.await_until(node.sees_all, "in the group")
        if not self.nodes[0].takes_writes():
            self.switch_to(self.nodes[0])

    def switch_to(self, node: GroupNode) -> None:
        """Make another member the primary; the old one goes on as a secondary."""
        node.ask(f"SELECT group_replication_set_as_primary('{node.uuid}')")
        node.await_until(node.takes_writes, "the primary")

    def await_primary(self) -> GroupNode:
        """Return the member that has been elected after the primary has died."""
        found: list[GroupNode] = []

        def is_elected() -> bool:
            found[:] = [node for node in self.nodes[1:] if node.takes_writes()]
            return bool(found)

        self.nodes[-1].await_until(is_elected, "in a group with a primary")
        return found[0]


@contextmanager
def group_replication(*, multi_primary: bool = False) -> Iterator[Group]:
    """Start a group of three members, the first of which is the primary.

    :param multi_primary: Whether all members take writes.
    :raises ServerUnavailable: If there is no MySQL with the plugin, and it cannot be
        fetched.
    """
    installation, plugin = installation_with(_PLUGIN, _KIND)
    with folder_for_nodes() as (folder, cleanup):
        ports = free_ports(2 * _NODES)
        seeds = [f"{LOOPBACK}:{port}" for port in ports[_NODES:]]
        name = str(uuid.uuid4())
        nodes = []
        for i in range(_NODES):
            node = GroupNode(
                folder, f"node{i}", ports[i], kind=_KIND, installation=installation
            )
            cleanup.enter_context(closing(node))
            node.group_port = ports[_NODES + i]
            node.options = (
                *_options(node, i + 1, name, seeds),
                f"--plugin-dir={plugin.parent}",
                *(_MULTI_PRIMARY if multi_primary else ()),
            )
            node.initialise()
            nodes.append(node)
        group = Group(nodes)
        group.start()
        yield group


_MULTI_PRIMARY = (
    "--loose-group-replication-single-primary-mode=OFF",
    "--loose-group-replication-enforce-update-everywhere-checks=ON",
)


def _options(
    node: GroupNode, number: int, group: str, seeds: list[str]
) -> tuple[str, ...]:
    return (
        f"--server-id={number}",
        "--log-bin=binlog",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        f"--report-host={LOOPBACK}",
        f"--report-port={node.port}",
        "--plugin-load-add=group_replication.so",
        f"--loose-group-replication-group-name={group}",
        f"--loose-group-replication-local-address={LOOPBACK}:{node.group_port}",
        f"--loose-group-replication-group-seeds={','.join(seeds)}",
        f"--loose-group-replication-ip-allowlist={LOOPBACK}/32",
        "--loose-group-replication-start-on-boot=OFF",
        "--loose-group-replication-recovery-get-public-key=ON",
        # A member that has died is missed sooner.
        "--loose-group-replication-member-expel-timeout=0",
    )
