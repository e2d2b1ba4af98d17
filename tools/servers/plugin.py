"""The pytest plugin: which database this run is about, and what came of it.

The controller of a run finds or starts the server; the workers of pytest-xdist are
told its URL. Each worker has a database of its own in it.
"""

import itertools
import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pytest
import sqlalchemy as sa

from servers import hooks, mysqlclient
from servers.databases import create_database, drop_databases
from servers.errors import ServerUnavailable
from servers.gate import Gate, Requirements
from servers.resolution import server_for

_WORKER_INPUT = "signalbus_target"
_USAGE_ERROR = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """The database under test, as the controller and each worker know it."""

    dialect: str
    version: str
    #: Of a user who may create databases; empty for SQLite.
    server_url: str
    origin: str
    #: Every database of this run has a name that starts with this.
    prefix: str
    #: What applications are configured with, ``None`` to configure nothing.
    level: str | None = None

    def __str__(self) -> str:
        """Return the line that names what a run was about."""
        driver = f" via {_driver_of(self.server_url)}" if self.server_url else ""
        level = f" at {self.level}" if self.level else ""
        return (
            f"{self.dialect} {self.version}{driver}{level}, "
            f"SQLAlchemy {sa.__version__}, {self.origin}"
        )


_TARGET = pytest.StashKey[Target]()
_CLEANUP = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the command line name the database."""
    group = parser.getgroup("signalbus", "swpt-flask-signalbus")
    group.addoption(
        "--signalbus-db",
        metavar="NAME|URL",
        default=os.environ.get("SIGNALBUS_TEST_DIALECT") or "sqlite",
        help="sqlite (default), postgresql, mysql, mariadb, postgresql-newest, "
        "mariadb-newest, or the URL of a user who may create databases "
        "[env: SIGNALBUS_TEST_DIALECT]",
    )
    group.addoption(
        "--signalbus-level",
        metavar="LEVEL",
        default=os.environ.get("SIGNALBUS_TEST_LEVEL"),
        help="the isolation level that the applications are configured with, as "
        "SERIALIZABLE [env: SIGNALBUS_TEST_LEVEL]",
    )
    group.addoption(
        "--signalbus-keep-server",
        action="store_true",
        help="leave the server and its databases there, and say where they are",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let the suite say what each database can do."""
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and watch over the skips."""
    config.addinivalue_line(
        "markers", "once: the test needs no database, so one row of the matrix runs it"
    )
    config.addinivalue_line(
        "markers",
        "requires(*capabilities): skip the test where the database lacks one of them",
    )
    if hasattr(config, "workerinput"):
        _set_target(config, Target(**config.workerinput[_WORKER_INPUT]))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Find or start the server, once for all workers."""
    config = session.config
    if _TARGET in config.stash or config.option.collectonly:
        return

    plugins = mysqlclient.plugin_folder(os.environ)
    if plugins is not None:
        os.environ.setdefault("MARIADB_PLUGIN_DIR", str(plugins))

    cleanup = config.stash[_CLEANUP] = ExitStack()
    try:
        target = _find_target(config, cleanup)
    except ServerUnavailable as error:
        pytest.exit(str(error), returncode=_USAGE_ERROR)
    _set_target(config, target)
    gate = Gate(_row_of(target, config), str(target))
    config.pluginmanager.register(gate, "signalbus_gate")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what the controller found."""
    if _TARGET in node.config.stash:
        node.workerinput[_WORKER_INPUT] = vars(node.config.stash[_TARGET])


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what this run is about."""
    return f"signalbus: {config.stash[_TARGET]}" if _TARGET in config.stash else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say where the server is that was left running."""
    if config.option.signalbus_keep_server and _TARGET in config.stash:
        url = config.stash[_TARGET].server_url
        terminalreporter.line(f"signalbus: the server was left running at {url}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the databases and the server away, however the run ended."""
    if _CLEANUP in config.stash:
        config.stash[_CLEANUP].close()


@pytest.fixture(scope="session")
def dialect_name(pytestconfig: pytest.Config) -> str:
    """Return the row of the matrix: sqlite, postgresql, mysql or mariadb."""
    return pytestconfig.stash[_TARGET].dialect


@pytest.fixture(scope="session")
def configured_level(pytestconfig: pytest.Config) -> str | None:
    """Return the isolation level that applications are configured with, if any."""
    return pytestconfig.stash[_TARGET].level


@pytest.fixture(scope="session")
def database_url(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Return the URL of the database of this run and worker."""
    return _create(pytestconfig.stash[_TARGET], tmp_path_factory, _worker())


@pytest.fixture(scope="session")
def new_database(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Return what creates a further database at each call, and returns its URL."""
    numbers = itertools.count(1)
    target = pytestconfig.stash[_TARGET]
    return lambda: _create(target, tmp_path_factory, f"{_worker()}_{next(numbers)}")


def _find_target(config: pytest.Config, cleanup: ExitStack) -> Target:
    asked = config.option.signalbus_db
    prefix = f"fsb_{secrets.token_hex(4)}_"
    if asked == "sqlite":
        version = sqlite3.sqlite_version
        return Target(
            dialect=asked,
            version=version,
            server_url="",
            origin="private files",
            prefix=prefix,
        )

    keep = config.option.signalbus_keep_server
    say = config.get_terminal_writer().line
    server = cleanup.enter_context(server_for(asked, os.environ, say, keep=keep))
    if not keep:
        # Before the server itself is taken away.
        cleanup.callback(drop_databases, server.url, prefix)
    return Target(
        dialect=server.dialect,
        version=server.version,
        server_url=_text(server.url),
        origin=server.origin,
        prefix=prefix,
        level=config.option.signalbus_level,
    )


def _set_target(config: pytest.Config, target: Target) -> None:
    config.stash[_TARGET] = target
    requirements = Requirements(_row_of(target, config))
    config.pluginmanager.register(requirements, "signalbus_requirements")


def _row_of(target: Target, config: pytest.Config) -> hooks.Row:
    row: hooks.Row = config.hook.pytest_signalbus_row(
        dialect=target.dialect, version=target.version
    )
    return row


def _create(target: Target, tmp_path_factory: pytest.TempPathFactory, name: str) -> str:
    if target.server_url:
        server = sa.make_url(target.server_url)
        return _text(create_database(server, target.prefix + name))

    folder = tmp_path_factory.mktemp("database")
    return f"sqlite:///{folder / target.prefix}{name}.db"


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def _driver_of(url: str) -> str:
    module = sa.make_url(url).get_dialect().import_dbapi().__name__
    # PyMySQL tells another one's version when it's asked itself.
    distribution = metadata.packages_distributions()[module][0]
    return f"{module} {metadata.version(distribution)}"


def _text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)
