"""A node of a topology: how it is found, killed, started again, and taken away."""

import os
import socket
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from servers.errors import ServerUnavailable
from servers.kinds import KINDS, LOOPBACK
from servers.resolution import PROVISION_VARIABLE, installation_for
from servers.topologies.nodes import (
    ServerNode,
    folder_for_nodes,
    free_ports,
    installation_with,
)

pytestmark = pytest.mark.once

POSTGRESQL = KINDS["postgresql"]
#: Otherwise the server acknowledges what a crash would undo.
DURABLE = "-csynchronous_commit=on"


def make_node(folder: Path) -> ServerNode:
    installation = installation_for(POSTGRESQL, os.environ, print)
    (port,) = free_ports(1)
    node = ServerNode(folder, "one", port, kind=POSTGRESQL, installation=installation)
    node.initialise()
    return node


def users_of(folder: Path) -> list[str]:
    """Return the names of the processes that work in a folder."""
    processes = psutil.process_iter(["name", "cmdline"])
    return [
        process.info["name"]
        for process in processes
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def test_a_node_keeps_its_data_when_it_is_killed_and_is_gone_in_the_end() -> None:
    with folder_for_nodes() as (folder, cleanup):
        node = make_node(folder)
        cleanup.enter_context(closing(node))
        node.start(DURABLE)
        node.execute("CREATE TABLE t (x integer)", "INSERT INTO t VALUES (7)")

        node.kill()
        with socket.socket() as probe:
            is_taken = probe.connect_ex((LOOPBACK, node.port)) == 0
        node.start(DURABLE)

        assert not is_taken
        assert node.ask("SELECT x FROM t") == "7"
        assert users_of(folder) != []

    assert users_of(folder) == []
    assert not folder.exists()


def test_a_node_that_ends_at_its_start_shows_its_log() -> None:
    with folder_for_nodes() as (folder, cleanup):
        node = make_node(folder)
        cleanup.enter_context(closing(node))

        with pytest.raises(ServerUnavailable, match="'one' has ended") as caught:
            node.start("-cno_such_setting=1")

    assert "no_such_setting" in str(caught.value)


def test_a_missing_library_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PROVISION_VARIABLE, "never")

    with pytest.raises(ServerUnavailable) as caught:
        installation_with("lib/no_such.so", POSTGRESQL)

    assert "but no 'lib/no_such.so'. Install it there, or unset" in str(caught.value)


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(50))) == 50
