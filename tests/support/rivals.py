"""Other transactions, each with a connection and a thread of its own.

What is done in which order is decided by what has happened, not by how long things
take: a statement is waited for until it ends, or until the server says that it waits.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import sqlalchemy as sa

from support.capabilities import SESSION_ID

T = TypeVar("T")

#: Nothing that goes well takes so many seconds.
TIMEOUT = 30.0

_IS_WAITING: Mapping[str, str] = {
    "postgresql": "SELECT cardinality(pg_blocking_pids(:number))",
    "mysql": """
        SELECT count(*) FROM performance_schema.data_lock_waits
        JOIN performance_schema.threads ON thread_id = requesting_thread_id
        WHERE processlist_id = :number
    """,
    # What InnoDB itself says of its waits is renewed too seldom; none of the statements
    # here takes so many milliseconds for another reason.
    "mariadb": """
        SELECT count(*) FROM information_schema.processlist
        WHERE id = :number AND command = 'Query' AND time_ms > 300
    """,
}


class Observer:
    """Knows which connections wait for another one. (In SQLite none does.)"""

    def __init__(self, url: str) -> None:
        self._dialect = sa.make_url(url).get_backend_name()
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")

    def number_of(self, connection: sa.Connection) -> int:
        """Return what the server calls a connection."""
        query = SESSION_ID.get(self._dialect, "SELECT 0")
        return int(connection.exec_driver_sql(query).scalar_one())

    def is_waiting(self, number: int) -> bool:
        """Tell whether a connection waits for a lock."""
        query = _IS_WAITING.get(self._dialect)
        if query is None:
            return False

        with self._engine.connect() as connection:
            return bool(connection.scalar(sa.text(query), {"number": number}))

    def await_waiting(self, number: int, unless: Future[Any] | None = None) -> None:
        """Return when a connection waits for a lock, or something has ended."""
        deadline = time.monotonic() + TIMEOUT
        done = unless or Future[Any]()
        while not (wait([done], 0.01).done or self.is_waiting(number)):
            assert time.monotonic() < deadline, "Nobody waits for a lock."

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


class Rival:
    """A connection of its own, in a thread of its own, which does as it is told."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        self.observer = Observer(url)
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, **engine_options)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.connection = self._do(self._engine.connect)
        self.number = self._do(self.observer.number_of, self.connection)
        self._do(self.connection.rollback)

    def start(self, statement: str) -> Future[list[Any]]:
        """Execute a statement that may have to wait."""
        return self._thread.submit(self._execute, statement)

    def start_when_waiting(self, number: int, statement: str) -> Future[list[Any]]:
        """Execute a statement as soon as another connection waits for a lock."""

        def execute() -> list[Any]:
            self.observer.await_waiting(number)
            return self._execute(statement)

        return self._thread.submit(execute)

    def start_and_wait(self, statement: str) -> Future[list[Any]]:
        """Execute a statement, and return when it has ended or waits for a lock."""
        started = self.start(statement)
        self.observer.await_waiting(self.number, unless=started)
        return started

    def run(self, *statements: str) -> list[Any]:
        """Execute statements, and return the rows of the last one."""
        rows: list[Any] = []
        for statement in statements:
            rows = self.start(statement).result(TIMEOUT)
        return rows

    def commit(self) -> None:
        """Commit the transaction."""
        self._do(self.connection.commit)

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._do(self.connection.rollback)

    def close(self) -> None:
        """Give everything up."""
        self._thread.submit(self.connection.close).result(TIMEOUT)
        self._thread.shutdown()
        self._engine.dispose()
        self.observer.close()

    def _execute(self, statement: str) -> list[Any]:
        if statement == "COMMIT":
            self.connection.commit()
            return []

        result = self.connection.execute(sa.text(statement))
        return list(result.all()) if result.returns_rows else []

    def _do(self, func: Callable[..., T], *args: Any) -> T:
        return self._thread.submit(func, *args).result(TIMEOUT)
