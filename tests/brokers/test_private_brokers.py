"""A private broker: who may talk to it, and what it leaves behind."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from servers.brokers import BROKERS, PrivateBroker, given_url
from servers.errors import ServerUnavailable
from servers.greetings import lets_us_in
from servers.kinds import LOOPBACK
from servers.private import free_port
from servers.resolution import installation_for

PATIENCE = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dead_address_is_an_error_that_names_its_variable(broker_name: str) -> None:
    kind = BROKERS[broker_name]
    scheme = kind.url.split("://")[0]
    environ = {f"{kind.variable}_URL": f"{scheme}://{LOOPBACK}:{free_port()}"}

    with pytest.raises(ServerUnavailable, match=rf"{kind.variable}_URL does not let"):
        given_url(kind, environ)


def test_a_broker_that_answers_is_taken(broker_name: str, broker_url: str) -> None:
    kind = BROKERS[broker_name]

    assert given_url(kind, {f"{kind.variable}_URL": broker_url}) == broker_url


def test_missing_programs_are_named_with_the_remedies(
    broker_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = replace(BROKERS[broker_name], places=(str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServerUnavailable) as caught:
        installation_for(kind, {"SIGNALBUS_TEST_PROVISION": "never"}, print)

    *_, looked, remedies = str(caught.value).splitlines()
    assert f"{tmp_path} has no {kind.programs[0]}" in looked
    assert remedies == (
        f"Install them, or set {kind.variable}_BINDIR to their folder, or "
        f"{kind.variable}_URL to a broker that tests may write to."
    )


def test_a_private_broker_wants_its_password(private: PrivateBroker) -> None:
    password = urlsplit(private.url).password or ""

    assert lets_us_in(private.url)
    assert not lets_us_in(private.url.replace(password, "guess"))


def test_a_private_broker_listens_on_loopback_only(private: PrivateBroker) -> None:
    processes = [psutil.Process(pid) for pid in private.pids]

    addresses = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }

    assert addresses
    assert all(ip_address(each).is_loopback for each in addresses)


def test_a_killed_run_leaves_no_broker(broker_name: str) -> None:
    script = (
        "import os, time; from servers.brokers import private_broker\n"
        f"with private_broker({broker_name!r}, os.environ, print) as broker:\n"
        "    print(broker.url, *broker.pids, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2] / "tools",
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        url, *pids = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)

    port = urlsplit(url).port or 0
    wait_until(lambda: refuses_connections(port))
    wait_until(lambda: not any(is_alive(int(pid)) for pid in pids))


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
