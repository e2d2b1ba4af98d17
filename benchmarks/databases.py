"""Where the signals are stored: the databases, and how their tables are filled."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from benchmarks.contestants.protocol import TABLE
from servers import private_server

#: Where a file is on a disk, by the Filesystem Hierarchy Standard.
DISK = Path("/var/tmp")
DATABASE = "signalbus_bench"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One database, as all contestants see it.

    :param drivers: The drivers to measure, the first one first.
    :param insertion: The statement that records ``:count`` signals.
    :param setup: The statement that lets a session count that far.
    :param empty: The statement that empties the table.
    :param version: The query for the version.
    :param has_one_writer: Whether flushers wait for each other.
    """

    name: str
    drivers: tuple[str, ...]
    insertion: str
    setup: str | None = None
    empty: str = f"TRUNCATE TABLE {TABLE}"
    version: str = "SELECT version()"
    has_one_writer: bool = False

    def takes(self, url: str) -> bool:
        """Tell whether a URL leads to such a database."""
        return url.startswith(self.name.lower())


_COUNTING = """
    INSERT INTO {table} (id, text, recorded_at)
    WITH RECURSIVE numbers (n) AS (
        SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count
    ) SELECT {signal} FROM numbers
"""
_SERIES = """
    INSERT INTO {table} (id, text, recorded_at)
    SELECT {signal} FROM generate_series(1, :count) AS numbers (n)
"""

BACKENDS = (
    Backend(
        name="SQLite",
        drivers=("sqlite",),
        insertion=_COUNTING,
        empty=f"DELETE FROM {TABLE}",
        version="SELECT sqlite_version()",
        has_one_writer=True,
    ),
    Backend(
        name="PostgreSQL",
        drivers=("postgresql+psycopg2", "postgresql+psycopg"),
        insertion=_SERIES,
        version="SHOW server_version",
    ),
    Backend(
        name="MySQL",
        drivers=("mysql+pymysql",),
        insertion=_COUNTING,
        setup="SET SESSION cte_max_recursion_depth = 10000000",
    ),
    Backend(
        name="MariaDB",
        drivers=("mariadb+pymysql",),
        insertion=_COUNTING,
        setup="SET SESSION max_recursive_iterations = 10000000",
    ),
)

_METADATA = sa.MetaData()
_SIGNALS = sa.Table(
    TABLE,
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(100), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
)
# A fixed moment has the form that SQLAlchemy stores on SQLite.
_TEXT = "confirmation of order number 0000000 to a customer"
_MOMENT = "2025-01-31 12:34:56.789012"


class Outbox:
    """The table in one database."""

    def __init__(self, backend: Backend, url: sa.URL) -> None:
        self.backend = backend
        self._url = url
        self._engine = sa.create_engine(url)
        _METADATA.drop_all(self._engine)
        _METADATA.create_all(self._engine)

    @property
    def version(self) -> str:
        """The version of the server."""
        with self._engine.connect() as connection:
            told = str(connection.scalar(sa.text(self.backend.version)))
        return re.match(r"[\d.]+", told)[0]  # type: ignore[index]

    def url(self, driver: str) -> str:
        """Return the URL of the database for one of its drivers."""
        url = self._url.set(drivername=driver)
        return url.render_as_string(hide_password=False)

    def fill(self, count: int) -> None:
        """Put this many signals into the table, and remove all others."""
        insertion = self.backend.insertion.format(
            table=TABLE, signal=f"n, '{_TEXT}', '{_MOMENT}'"
        )
        with self._engine.begin() as connection:
            if self.backend.setup is not None:
                connection.execute(sa.text(self.backend.setup))
            connection.execute(sa.text(self.backend.empty))
            connection.execute(sa.text(insertion), {"count": count})

    def clear(self) -> None:
        """Remove all signals from the table."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(self.backend.empty))

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def outbox(backend: Backend, url: str | None = None) -> Iterator[Outbox]:
    """Yield the table in a private server, or at the given URL."""
    with _server(backend, url) as server:
        outbox = Outbox(backend, server)
        try:
            yield outbox
        finally:
            outbox.close()


@contextmanager
def _server(backend: Backend, url: str | None) -> Iterator[sa.URL]:
    if url is not None:
        yield sa.make_url(url)
    elif backend.has_one_writer:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=DISK) as folder:
            yield sa.URL.create("sqlite", database=f"{folder}/signals.db")
    else:
        with private_server(backend.name.lower()) as server:
            yield _create_database(sa.make_url(server))


def _create_database(server: sa.URL) -> sa.URL:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
    engine.dispose()
    return server.set(database=DATABASE)
