"""What is known of each kind of database server, as data.

A *kind* is what ``--signalbus-db`` names. Two kinds may share a row of the matrix:
``mariadb-newest`` is another server of the row ``mariadb``.
"""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from servers.errors import ServerUnavailable

#: Private servers listen here and nowhere else.
LOOPBACK = "127.0.0.1"

#: The drivers of each row; the first is used when none is asked for.
DRIVERS: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("psycopg2", "psycopg"),
    "mysql": ("pymysql", "mysqldb"),
    "mariadb": ("pymysql", "mysqldb"),
}


@dataclass(frozen=True, kw_only=True)
class Software:
    """What has to be found on a machine before it can be run there."""

    name: str
    #: Finds the version in ``--version`` and in ``SELECT version()``, if and only
    #: if that comes from a server of this kind.
    version_pattern: str
    #: The program that serves comes first.
    programs: tuple[str, ...]
    #: Programs that need not be in the same folder: any folder of PATH will do.
    helpers: tuple[str, ...] = ()
    #: Where programs are looked for, besides the folders of PATH.
    places: tuple[str, ...]
    #: Older servers are not taken for this kind.
    oldest: tuple[int, ...]
    #: The program has no ``--version``; its folder says it.
    has_version_in_path: bool = False
    #: To what an address in the environment may lead, if there can be one.
    url_is_of: str = "a server whose user may create databases"

    @property
    def variable(self) -> str:
        """The first part of the names of this kind's environment variables."""
        return f"SIGNALBUS_TEST_{self.name.upper().replace('-', '_')}"

    def version_in(self, text: str) -> str | None:
        """Return the version told by a text, ``None`` if it's another server's."""
        match = re.search(self.version_pattern, text)
        return match[1] if match else None


@dataclass(frozen=True, kw_only=True)
class Kind(Software):
    """One kind of database: how to recognise, prepare, run, stop and address it.

    Texts in braces are filled in when a server is started: ``{data}``, ``{home}``,
    ``{port}``, ``{prefix}`` and the names of :attr:`programs`.
    """

    dialect: str
    user: str
    has_password: bool
    maintenance_database: str
    data_folder_query: str
    initialise: tuple[str, ...]
    serve: tuple[str, ...]
    stop_signal: signal.Signals
    orphan_signal: signal.Signals


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers, which can be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


_POSTGRESQL = Kind(
    name="postgresql",
    dialect="postgresql",
    version_pattern=r"PostgreSQL\)? (\d+(?:\.\d+)*)",
    programs=("postgres", "initdb"),
    places=("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"),
    oldest=(13,),
    user="postgres",
    has_password=True,
    maintenance_database="postgres",
    data_folder_query="SHOW data_directory",
    initialise=(
        "{initdb}",
        "--pgdata={data}",
        "--username=postgres",
        "--auth=scram-sha-256",
        "--pwfile={home}/password",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C",
    ),
    serve=(
        "{postgres}",
        "-D{data}",
        "-k{home}",
        "-h" + LOOPBACK,
        "-p{port}",
        "-cfsync=off",
        "-csynchronous_commit=off",
        "-cfull_page_writes=off",
        "-cmax_connections=200",
        "-clock_timeout=5s",
        "-clog_lock_waits=on",
        "-cjit=off",
        # Statistics that come and go would change the plans from run to run.
        "-cautovacuum=off",
    ),
    stop_signal=signal.SIGINT,
    # On SIGKILL the postmaster would leave its children behind for a while.
    orphan_signal=signal.SIGQUIT,
)

_SHARED_MYSQL_OPTIONS = (
    "--no-defaults",
    "--datadir={data}",
    "--socket={home}/socket",
    "--pid-file={home}/pid",
    "--bind-address=" + LOOPBACK,
    "--port={port}",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--innodb-lock-wait-timeout=5",
    "--lock-wait-timeout=5",
    "--max-connections=200",
    "--skip-log-bin",
)

_MYSQL = Kind(
    name="mysql",
    dialect="mysql",
    version_pattern=r"(?<![\d.])(\d+\.\d+\.\d+)(?!.*MariaDB)",
    programs=("mysqld",),
    places=("/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin", "/opt/mysql/bin"),
    oldest=(8, 0, 1),
    user="root",
    # MySQL's passwords need a plug-in or RSA in each client.
    has_password=False,
    maintenance_database="",
    data_folder_query="SELECT @@datadir",
    initialise=(
        "{mysqld}",
        "--no-defaults",
        "--initialize-insecure",
        "--datadir={data}",
        "--secure-file-priv=NULL",
    ),
    serve=(
        "{mysqld}",
        *_SHARED_MYSQL_OPTIONS,
        "--mysqlx=OFF",
        # root has no password, so it must not be a way to the files of the account.
        "--secure-file-priv=NULL",
    ),
    stop_signal=signal.SIGTERM,
    orphan_signal=signal.SIGKILL,
)

_MARIADB = Kind(
    name="mariadb",
    dialect="mariadb",
    version_pattern=r"(\d+\.\d+\.\d+)-MariaDB",
    programs=("mariadbd", "mariadb-install-db", "my_print_defaults"),
    places=("/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/mysql/bin"),
    oldest=(10, 6),
    user="root",
    # MySQL's passwords need a plug-in or RSA in each client.
    has_password=False,
    maintenance_database="",
    data_folder_query="SELECT @@datadir",
    initialise=(
        "{mariadb-install-db}",
        "--no-defaults",
        "--basedir={prefix}",
        "--datadir={data}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--force",
    ),
    serve=("{mariadbd}", *_SHARED_MYSQL_OPTIONS, "--secure-file-priv={data}"),
    stop_signal=signal.SIGTERM,
    orphan_signal=signal.SIGKILL,
)

_NEWEST = (
    replace(_POSTGRESQL, name="postgresql-newest", oldest=(18,)),
    replace(_MARIADB, name="mariadb-newest", oldest=(11, 8)),
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (_POSTGRESQL, _MYSQL, _MARIADB, *_NEWEST)
}


def kind_named(name: str) -> Kind:
    """Return the kind of server with a name."""
    if name not in KINDS:
        known = ", ".join(["sqlite", *KINDS])
        raise ServerUnavailable(
            f"No database is named {name!r}. Known names: {known}; a URL does too."
        )

    return KINDS[name]


def recognise(text: str) -> str:
    """Return what server a version text comes from, in words."""
    for kind in (_POSTGRESQL, _MARIADB, _MYSQL):
        version = kind.version_in(text)
        if version is not None:
            return f"{kind.name} {version}"

    return f"something that calls itself {text.strip()!r}"
