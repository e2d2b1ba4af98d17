"""How databases are made and removed in a server, and what a server is asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import sqlalchemy as sa

_CREATE: Mapping[str, str] = {
    "postgresql": "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'",
    "mysql": "CREATE DATABASE {name} CHARACTER SET utf8mb4",
    "mariadb": "CREATE DATABASE {name} CHARACTER SET utf8mb4",
}

_LIST: Mapping[str, str] = {
    "postgresql": "SELECT datname FROM pg_database",
    "mysql": "SHOW DATABASES",
    "mariadb": "SHOW DATABASES",
}

#: Who listens at a port need not be a database; it may never say a word.
_TIMEOUTS: Mapping[str, Mapping[str, int]] = {
    "postgresql": {"connect_timeout": 5},
    "mysql": {"connect_timeout": 5, "read_timeout": 60},
    "mariadb": {"connect_timeout": 5, "read_timeout": 60},
}

#: Connections that a test forgot must not keep a database alive.
_CONNECTIONS_TO = "SELECT id FROM information_schema.processlist WHERE db = '{name}'"


def ask(url: sa.URL, query: str) -> str:
    """Return the one value that a query answers."""
    with _connected(url) as connection:
        return str(connection.scalar(sa.text(query)))


def create_database(server: sa.URL, name: str) -> sa.URL:
    """Create a database and return its URL."""
    with _connected(server) as connection:
        connection.execute(sa.text(_CREATE[_dialect(server)].format(name=name)))
    return server.set(database=name)


def drop_databases(server: sa.URL, prefix: str) -> None:
    """Drop the databases whose names start with a prefix, whoever is in them."""
    drop = _drop_forced if _dialect(server) == "postgresql" else _drop_deserted
    with _connected(server) as connection:
        names = connection.scalars(sa.text(_LIST[_dialect(server)])).all()
        for name in names:
            if name.startswith(prefix):
                drop(connection, name)


def _drop_forced(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def _drop_deserted(connection: sa.Connection, name: str) -> None:
    connections = sa.text(_CONNECTIONS_TO.format(name=name))
    for number in connection.scalars(connections).all():
        # It may have gone by itself meanwhile.
        with suppress(sa.exc.DBAPIError):
            connection.execute(sa.text(f"KILL {number}"))
    connection.execute(sa.text(f"DROP DATABASE {name}"))


@contextmanager
def _connected(url: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=_TIMEOUTS[_dialect(url)],
    )
    with engine.connect() as connection:
        yield connection


def _dialect(url: sa.URL) -> str:
    return url.get_backend_name()
