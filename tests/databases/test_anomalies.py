"""What two transactions do to each other, on each database, at each level."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from support import anomalies
from support.rivals import TIMEOUT, Rival
from swpt_pythonlib.flask_signalbus._dialects import traits_of
from swpt_pythonlib.flask_signalbus._errors import is_conflict

#: How a driver is told not to wait.
IMPATIENCE = {"sqlite": {"connect_args": {"timeout": 0}}}

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

_metadata = sa.MetaData()
_table = sa.Table(
    "arena",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Integer, nullable=False),
)


class Contender:
    """One of two transactions, which takes steps until it fails."""

    def __init__(self, rival: Rival) -> None:
        self._rival = rival
        self._steps: list[Future[list[Any]]] = []

    def take(self, statement: str) -> None:
        """Take a step that may have to wait, as may those after it."""
        self._steps.append(self._rival.start_and_wait(statement))

    def read(self, query: str) -> Any:
        """Return the value that a query finds."""
        self.take(query)
        return self._steps[-1].result(TIMEOUT)[0][0]

    def end(self) -> sa.exc.DBAPIError | None:
        """Return the error that has kept the transaction from being committed."""
        errors = [step.exception(TIMEOUT) for step in self._steps]
        self._rival.rollback()
        failures = [error for error in errors if error is not None]
        first = failures[0] if failures else None
        assert first is None or isinstance(first, sa.exc.DBAPIError)
        return first


class Careful(Rival):
    """A rival that gives up at its first error, at once and for good."""

    has_failed = False

    def _execute(self, statement: str) -> list[Any]:
        if self.has_failed:
            return []
        try:
            return super()._execute(statement)
        except sa.exc.DBAPIError:
            self.has_failed = True
            self.connection.rollback()
            # SQLAlchemy takes a COMMIT that failed for an end, SQLite does not.
            self.connection.connection.rollback()
            raise


class Meeting:
    """Two contenders, and a table that holds the rows 1 and 2."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        self._cleanup = ExitStack()
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        with self._engine.begin() as connection:
            connection.execute(_table.delete())
            rows = [{"id": id, "value": 50} for id in (1, 2)]
            connection.execute(_table.insert(), rows)
        version: Any = self._engine.dialect.server_version_info
        self.version: tuple[int, ...] = version or ()
        self.a, self.b = (self._contender(url, engine_options) for _ in "ab")

    def values(self) -> list[int]:
        """Return the committed values, in the order of their keys."""
        query = sa.select(_table.c.value).order_by(_table.c.id)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def close(self) -> None:
        """Leave no connection."""
        self._cleanup.close()

    def _contender(self, url: str, engine_options: dict[str, Any]) -> Contender:
        rival = Careful(url, **engine_options)
        self._cleanup.callback(rival.close)
        return Contender(rival)


def loses_update(meeting: Meeting) -> bool:
    """Add 1 in each transaction to what it has read."""
    a, b = meeting.a, meeting.b
    for contender in (a, b):
        assert contender.read("SELECT value FROM arena WHERE id = 1") == 50
    for contender in (a, b):
        contender.take("UPDATE arena SET value = 51 WHERE id = 1")
        contender.take("COMMIT")
    return a.end() is b.end() is None and meeting.values()[0] == 51


def skews_writes(meeting: Meeting) -> bool:
    """Take 60 in each transaction, if there are 100 in both rows."""
    a, b = meeting.a, meeting.b
    for contender in (a, b):
        assert contender.read("SELECT sum(value) FROM arena") == 100
    a.take("UPDATE arena SET value = value - 60 WHERE id = 1")
    a.take("COMMIT")
    b.take("UPDATE arena SET value = value - 60 WHERE id = 2")
    b.take("COMMIT")
    return a.end() is b.end() is None and sum(meeting.values()) < 0


def sees_phantom(meeting: Meeting) -> bool:
    """Count the rows twice, while the other transaction adds one."""
    a, b = meeting.a, meeting.b
    before = a.read("SELECT count(*) FROM arena")
    b.take("INSERT INTO arena (id, value) VALUES (3, 50)")
    b.take("COMMIT")
    after = a.read("SELECT count(*) FROM arena")
    a.take("COMMIT")
    error = a.end()
    b.end()
    return error is None and bool(before != after)


def skews_reads(meeting: Meeting) -> bool:
    """Read two rows, between which the other transaction moves 50."""
    a, b = meeting.a, meeting.b
    first = a.read("SELECT value FROM arena WHERE id = 1")
    b.take("UPDATE arena SET value = 0 WHERE id = 1")
    b.take("UPDATE arena SET value = 100 WHERE id = 2")
    b.take("COMMIT")
    second = a.read("SELECT value FROM arena WHERE id = 2")
    a.take("COMMIT")
    error = a.end()
    b.end()
    return error is None and bool(first + second != 100)


def duplicates_key(meeting: Meeting) -> bool:
    """Insert a row that neither transaction has found."""
    a, b = meeting.a, meeting.b
    for contender in (a, b):
        assert contender.read("SELECT count(*) FROM arena WHERE id = 3") == 0
    for contender in (a, b):
        contender.take("INSERT INTO arena (id, value) VALUES (3, 50)")
        contender.take("COMMIT")
    return any(isinstance(end, sa.exc.IntegrityError) for end in (a.end(), b.end()))


PROVOCATIONS: dict[str, Callable[[Meeting], bool]] = {
    "lost update": loses_update,
    "write skew": skews_writes,
    "phantom": sees_phantom,
    "read skew": skews_reads,
    "duplicate key": duplicates_key,
}

Meet = Callable[..., Meeting]


@pytest.fixture(scope="module")
def arena(database_url: str) -> Iterator[str]:
    """Create the table, and return the URL of its database."""
    engine = sa.create_engine(database_url)
    _metadata.create_all(engine)
    yield database_url
    _metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def meet(arena: str) -> Iterator[Meet]:
    with ExitStack() as cleanup:

        def meet(**engine_options: Any) -> Meeting:
            meeting = Meeting(arena, **engine_options)
            cleanup.callback(meeting.close)
            return meeting

        yield meet


@pytest.mark.requires("isolation_levels")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("anomaly", anomalies.ANOMALIES)
def test_the_table_tells_what_happens(
    meet: Meet, dialect_name: str, anomaly: str, level: str
) -> None:
    """A10: at each level that can be configured."""
    meeting = meet(isolation_level=level)
    row = anomalies.row_of(dialect_name, meeting.version, level)

    happens = PROVOCATIONS[anomaly](meeting)

    assert happens is (anomaly in row.happens)


@pytest.mark.requires("journal_modes")
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize("begin", anomalies.BEGINS)
@pytest.mark.parametrize("anomaly", anomalies.ANOMALIES)
def test_the_table_tells_what_happens_in_either_journal(
    meet: Meet, dialect_name: str, arena: str, anomaly: str, begin: str, journal: str
) -> None:
    """A10: with our engines, and with those of the driver's default."""
    engine = sa.create_engine(arena)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA journal_mode = {journal}")
    plugins = ["swpt_flask_signalbus"] if begin == "BEGIN" else []
    meeting = meet(plugins=plugins, **IMPATIENCE[dialect_name])
    row = anomalies.row_of(dialect_name, meeting.version, begin)

    happens = PROVOCATIONS[anomaly](meeting)
    meeting.close()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    engine.dispose()

    assert happens is (anomaly in row.happens)


def test_what_the_default_level_prevents_is_a_conflict(
    meet: Meet, arena: str, dialect_name: str
) -> None:
    """A10, A11: so that a block is executed again."""
    meeting = meet(plugins=["swpt_flask_signalbus"], **IMPATIENCE.get(dialect_name, {}))
    for contender in (meeting.a, meeting.b):
        contender.read("SELECT value FROM arena WHERE id = 1")
    for contender in (meeting.a, meeting.b):
        contender.take("UPDATE arena SET value = 51 WHERE id = 1")
        contender.take("COMMIT")

    errors = [error for error in (meeting.a.end(), meeting.b.end()) if error]

    assert len(errors) == 1
    assert is_conflict(errors[0], traits_of(sa.make_url(arena).get_dialect()))


def test_each_database_has_a_default() -> None:
    """A10: the table tells which, and that no update is lost there."""
    defaults = {row.dialect: row for row in anomalies.ROWS if row.is_default}

    assert defaults.keys() == {row.dialect for row in anomalies.ROWS}
    assert not any("lost update" in row.happens for row in defaults.values())


@pytest.mark.once
def test_the_documentation_shows_the_table() -> None:
    """A10: run ``make generated`` if this fails."""
    written = anomalies.GENERATED.read_text(encoding="utf-8")

    assert written == anomalies.rendered()
    assert re.search(
        r"^\.\. include:: _generated/anomalies.rst$", _page(), re.MULTILINE
    )


def _page() -> str:
    page = anomalies.GENERATED.parents[1] / "transactions.rst"
    return page.read_text(encoding="utf-8")
