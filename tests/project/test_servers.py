"""How database servers are found, told apart and fetched."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from servers import private
from servers.errors import ServerUnavailable
from servers.installations import installed
from servers.kinds import KINDS, LOOPBACK, recognise
from servers.provision import provision, provisioned
from servers.recipes import RECIPES, Recipe
from servers.resolution import installation_for, server_for
from support.fake_programs import fake_postgresql, put_program

pytestmark = pytest.mark.once

POSTGRESQL = KINDS["postgresql"]


@pytest.mark.parametrize(
    ("told", "server"),
    [
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", "postgresql 15.20"),
        ("PostgreSQL 18.6 on x86_64-pc-linux-gnu", "postgresql 18.6"),
        ("/sbin/mysqld  Ver 8.0.45 for Linux on x86_64", "mysql 8.0.45"),
        ("mysqld.real  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "mysql 9.7.4"),
        ("9.7.4-2", "mysql 9.7.4"),
        ("mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian", "mariadb 10.11.19"),
        ("5.5.5-11.8.9-MariaDB", "mariadb 11.8.9"),
        ("no database", "something that calls itself 'no database'"),
    ],
)
def test_a_server_is_recognised_by_what_it_says(told: str, server: str) -> None:
    assert recognise(told) == server


def test_programs_of_the_wrong_flavour_are_refused(tmp_path: Path) -> None:
    put_program(tmp_path, "mysqld", "echo mysqld Ver 10.11.19-MariaDB for Linux")
    environ = {"SIGNALBUS_TEST_MYSQL_BINDIR": str(tmp_path)}

    with pytest.raises(ServerUnavailable, match=r"mysqld is mariadb 10\.11\.19\."):
        installed(KINDS["mysql"], environ)


def test_programs_that_are_too_old_are_refused(tmp_path: Path) -> None:
    fake_postgresql(tmp_path, serve="false")
    environ = {"SIGNALBUS_TEST_POSTGRESQL_NEWEST_BINDIR": str(tmp_path)}

    with pytest.raises(ServerUnavailable, match=r"postgres is only 15\.3\."):
        installed(KINDS["postgresql-newest"], environ)


def test_missing_programs_are_named_with_the_remedies(tmp_path: Path) -> None:
    kind = replace(POSTGRESQL, places=("/nowhere", str(tmp_path)))

    with pytest.raises(ServerUnavailable) as caught:
        installation_for(kind, {"SIGNALBUS_TEST_PROVISION": "never"}, print)

    assert str(caught.value).splitlines() == [
        "postgresql was asked for, but cannot be run here. "
        "SIGNALBUS_TEST_PROVISION is 'never'.",
        "Looked for postgres and initdb:",
        f"    {tmp_path} has no postgres and no initdb;",
        "Install them, or set SIGNALBUS_TEST_POSTGRESQL_BINDIR to their folder, or "
        "SIGNALBUS_TEST_POSTGRESQL_URL to a server whose user may create databases.",
    ]


def test_a_dead_url_is_an_error() -> None:
    url = f"postgresql://me:secret@{LOOPBACK}:{private.free_port()}/postgres"
    environ = {"SIGNALBUS_TEST_POSTGRESQL_URL": url}

    with (
        pytest.raises(ServerUnavailable, match=r"POSTGRESQL_URL\) does not") as caught,
        server_for("postgresql", environ, print),
    ):
        pass

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("asked", ["oracle", "oracle://scott:tiger@localhost/"])
def test_an_unknown_database_is_an_error(asked: str) -> None:
    with (
        pytest.raises(ServerUnavailable, match=r"'oracle'.*Known.*sqlite, postgresql"),
        server_for(asked, {}, print),
    ):
        pass


def test_an_unknown_driver_is_an_error() -> None:
    environ = {"SIGNALBUS_TEST_DRIVER": "pymysql"}

    with (
        pytest.raises(ServerUnavailable, match="Known drivers: psycopg2, psycopg"),
        server_for("postgresql", environ, print),
    ):
        pass


FAKE_APT = """
case "$*" in
    indextargets*) echo "http://mirror/debian/ {codename} main" ;;
    *--simulate*) printf 'Inst %s (1.0)\\n' server libserver perl ;;
    *download*) touch server.deb libserver.deb; echo "$*" >&2 ;;
esac
"""

FAKE_DPKG = """
mkdir -p "$3/lib/some-linux-gnu" "$3/usr/bin"
printf '#!/bin/sh\\nshift 4; exec "$@"\\n' > "$3/lib/some-linux-gnu/ld-linux.so.2"
printf '#!/bin/sh\\necho "$@"\\n' > "$3/usr/bin/serve"
printf '#!/bin/sh\necho "$FONTS $LD_LIBRARY_PATH $@"\n' > "$3/usr/bin/browse"
chmod +x "$3/lib/some-linux-gnu/ld-linux.so.2" "$3/usr/bin/"*
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Put fakes in the place of apt and dpkg; return an environment with a cache."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "sid")
    put_program(tmp_path, "apt-get", FAKE_APT.format(codename=codename))
    put_program(tmp_path, "dpkg", FAKE_DPKG)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return {"SIGNALBUS_TEST_CACHE": str(tmp_path / "a cache")}


def test_what_was_fetched_is_not_fetched_again(archive: Mapping[str, str]) -> None:
    recipe = Recipe(
        name="a server",
        packages=("server",),
        wanted="server|libserver",
        wrapped=("serve",),
        options={"serve": "--share={root}/share"},
    )
    said: list[str] = []

    root = provision(recipe, archive, said.append)
    again = provision(recipe, archive, said.append)

    assert again == root == provisioned(recipe, archive)
    assert said == [
        "a server: asking apt for server of this machine's release",
        "a server: downloading 2 packages",
        f"a server: ready in {root}",
    ]
    output = subprocess.check_output([root / "usr/bin/serve", "one"], text=True)
    assert output == f"one --share={root}/share\n"


def test_a_program_that_starts_itself_again_finds_what_was_fetched(
    archive: Mapping[str, str],
) -> None:
    """Not by the loader that was fetched: the loader would be started again."""
    recipe = Recipe(
        name="a browser",
        packages=("server",),
        wanted="server",
        settings={"browse": "FONTS={root}/fonts"},
    )

    root = provision(recipe, archive, print)

    output = subprocess.check_output([root / "usr/bin/browse", "one"], text=True)
    assert output == f"{root}/fonts {root}/lib/some-linux-gnu one\n"


def test_a_machine_without_apt_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    environ = {"SIGNALBUS_TEST_CACHE": str(tmp_path)}

    with pytest.raises(ServerUnavailable, match="no apt-get and no dpkg"):
        provision(RECIPES["mysql"], environ, print)

    assert provisioned(RECIPES["mysql"], environ) is None
