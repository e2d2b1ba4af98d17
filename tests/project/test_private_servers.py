"""A private server: how it starts, how it fails to, and what it leaves behind."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from servers import account, private
from servers.databases import ask, create_database, drop_databases
from servers.errors import ServerUnavailable
from servers.installations import Installation, installed
from servers.kinds import KINDS, LOOPBACK
from servers.resolution import checked, installation_for
from support.fake_programs import fake_postgresql, put_program

pytestmark = pytest.mark.once

POSTGRESQL = KINDS["postgresql"]

#: Waits for what happens by itself soon; never reached unless it doesn't.
PATIENCE = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that a server's account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="harness-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def postgresql() -> Installation:
    return installation_for(POSTGRESQL, os.environ, print)


@pytest.fixture(scope="module")
def server(postgresql: Installation) -> Iterator[sa.URL]:
    with private.running(POSTGRESQL, postgresql, driver="psycopg2") as url:
        yield url


def fail_to_start(folder: Path, choose_port: Callable[[], int]) -> str:
    """Start the server in a folder, which doesn't come up; return the message."""
    found = installed(POSTGRESQL, {"SIGNALBUS_TEST_POSTGRESQL_BINDIR": str(folder)})
    assert found.found is not None

    with (
        pytest.raises(ServerUnavailable) as caught,
        private.running(
            POSTGRESQL, found.found, driver="psycopg2", choose_port=choose_port
        ),
    ):
        pass
    return str(caught.value)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def test_a_taken_port_is_left_to_who_has_it(
    server: sa.URL, postgresql: Installation
) -> None:
    free = private.free_port()
    ports = iter([server.port, free])

    with private.running(
        POSTGRESQL, postgresql, driver="psycopg2", choose_port=lambda: next(ports) or 0
    ) as url:
        answers = {ask(each, "SHOW data_directory") for each in (server, url)}

    assert url.port == free
    assert len(answers) == 2


def test_the_search_for_a_port_ends(folder: Path, server: sa.URL) -> None:
    fake_postgresql(folder, serve="echo no luck; exit 1")
    taken = itertools.repeat(server.port or 0)

    message = fail_to_start(folder, lambda: next(taken))

    assert message.count("no luck") == 3


def test_a_server_that_dies_during_start_shows_its_last_words(folder: Path) -> None:
    fake_postgresql(folder, serve="seq 100; echo FATAL: no memory; exit 1")
    ports = iter([private.free_port()])

    first, *log = fail_to_start(folder, lambda: next(ports)).splitlines()

    assert "did not start" in first
    assert [line.strip() for line in log] == [
        *map(str, range(62, 101)),
        "FATAL: no memory",
    ]


def test_a_data_folder_that_cannot_be_prepared_is_an_error(folder: Path) -> None:
    fake_postgresql(folder, serve="true", initialise="echo disk full; exit 1")

    message = fail_to_start(folder, private.free_port)

    assert "could not prepare its data folder" in message
    assert message.endswith("disk full")


def test_programs_that_the_account_cannot_reach_are_found_out(folder: Path) -> None:
    put_program(folder, "postgres", "true")

    folder.chmod(0o700)
    assert account.closed_to_others(folder / "postgres") == folder
    folder.chmod(0o755)
    assert account.closed_to_others(folder / "postgres") is None


def test_a_killed_run_leaves_neither_a_server_nor_a_folder(
    postgresql: Installation,
) -> None:
    script = (
        "import time; from servers import private_server\n"
        "with private_server('postgresql') as url:\n"
        "    print(url, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2] / "tools",
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        url = sa.make_url(run.stdout.readline().strip())
        home = Path(ask(url, "SHOW data_directory")).parent
        run.send_signal(signal.SIGKILL)

    wait_until(lambda: refuses_connections(url.port or 0))
    assert home.exists()
    with private.running(POSTGRESQL, postgresql, driver="psycopg2"):
        assert not home.exists()


def test_a_server_is_not_tied_to_a_thread_that_may_end(
    postgresql: Installation,
) -> None:
    caught: list[Exception] = []

    def start() -> None:
        try:
            with private.running(POSTGRESQL, postgresql, driver="psycopg2"):
                pass
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(PATIENCE)

    assert [str(error) for error in caught] == [
        "A private server can only be started by the main thread."
    ]


def test_only_the_databases_of_a_run_are_dropped_even_those_in_use(
    server: sa.URL,
) -> None:
    create_database(server, "other_1")
    mine = create_database(server, "mine_1")
    engine = sa.create_engine(mine)

    with engine.connect():
        drop_databases(server, "mine_")
    engine.dispose()

    query = "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ '_1$'"
    assert ask(server, query) == "other_1"


def test_a_server_of_the_wrong_flavour_is_refused(server: sa.URL) -> None:
    cockroach = replace(POSTGRESQL, name="cockroach", version_pattern=r"CCL v(\S+)")

    with pytest.raises(ServerUnavailable, match=r"\(the test\) is postgresql \d"):
        checked(cockroach, server, None, "the test")
