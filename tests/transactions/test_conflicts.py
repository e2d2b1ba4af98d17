"""Conflicts that are provoked for real, by another connection, and what comes of them.

A *provocation* is lost once: the first execution of the block runs into a conflict,
the second has the database for itself.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.engine import ExceptionContext

from support.models import Account, Tag, db
from support.rivals import TIMEOUT, Rival
from support.signatures import AppFactory
from swpt_pythonlib.flask_signalbus import DBSerializationError, RetryPolicy
from swpt_pythonlib.flask_signalbus.utils import get_db_error_code


class OutOfOrder(Exception):
    """An error of the application."""


@dataclass(frozen=True)
class Provocation:
    """A way to run into a conflict, and by which code each database reports it."""

    provoke: Callable[["Arena"], None]
    codes: Mapping[str, str]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rival_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    journal: str = "DELETE"


class Arena:
    """Where the blocks of an application meet a rival."""

    def __init__(self, url: str, rival: Rival) -> None:
        self.url = url
        self.rival = rival
        self.executions = 0
        #: What the rival is doing.
        self.pending: list[Future[Any]] = []
        #: The codes of all errors that the database has reported.
        self.codes: list[str] = []
        sa.event.listen(db.engine, "handle_error", self._note_code)

    @property
    def number(self) -> int:
        """The number of the block's connection."""
        return self.rival.observer.number_of(db.session.connection())

    def _note_code(self, context: ExceptionContext) -> None:
        self.codes.append(get_db_error_code(context.original_exception))


def write(value: int = 1) -> None:
    """Increment the row that is fought for."""
    db.session.get_one(Account, 1).value += value
    db.session.flush()


def write_after_another(arena: Arena) -> None:
    """Read a row, let the rival change it, and change it."""
    account = db.session.get_one(Account, 1)
    if arena.executions == 1:
        arena.rival.run("UPDATE account SET value = value + 100 WHERE id = 1")
        arena.rival.commit()
    account.value += 1
    db.session.flush()


def wait_for_each_other(arena: Arena) -> None:
    """Lock a row, and wait for another one, which the rival has locked."""
    if arena.executions > 1:
        arena.pending.pop().result(TIMEOUT)
        arena.rival.commit()
    db.session.execute(sa.update(Account).where(Account.id == 2).values(value=0))
    if arena.executions == 1:
        arena.rival.run(
            # Who has done more is not the one that InnoDB gives up.
            *(f"UPDATE account SET value = 5 WHERE id = {id}" for id in range(3, 9)),
            "UPDATE account SET value = value + 100 WHERE id = 1",
        )
        # Who has waited for longer is the one that PostgreSQL gives up.
        update = "UPDATE account SET value = 7 WHERE id = 2"
        arena.pending.append(arena.rival.start_when_waiting(arena.number, update))
    write()


def wait_too_long(arena: Arena) -> None:
    """Wait for a row that the rival doesn't let go."""
    if arena.executions == 1:
        arena.rival.run("UPDATE account SET value = value + 100 WHERE id = 1")
    else:
        arena.rival.commit()
    db.session.execute(
        sa.update(Account).where(Account.id == 1).values(value=Account.value + 1)
    )


def lose_at_commit(arena: Arena) -> None:
    """Write what the rival reads."""
    if arena.executions == 1:
        arena.rival.run("BEGIN", "SELECT sum(value) FROM account")
    else:
        arena.rival.rollback()
    db.session.scalar(sa.select(sa.func.sum(Account.value)))
    write()


def lose_at_commit_to_a_writer(arena: Arena) -> None:
    """Read what the rival writes, and write what the rival has read."""
    db.session.scalar(sa.select(sa.func.sum(Account.value)))
    if arena.executions == 1:
        arena.rival.run(
            "SELECT sum(value) FROM account",
            "UPDATE account SET value = value + 100 WHERE id = 2",
        )
    write()
    if arena.executions == 1:
        arena.rival.commit()


_IMPATIENT_DRIVER = {"connect_args": {"timeout": 0.1}}
_IMPATIENT_SESSION = {
    "connect_args": {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"}
}

STALE_WRITE = Provocation(
    write_after_another,
    codes={"postgresql": "40001", "mariadb": "1020", "sqlite": "517"},
    options={
        "mariadb": {
            "isolation_level": "REPEATABLE READ",
            "connect_args": {
                "init_command": "SET SESSION innodb_snapshot_isolation = ON"
            },
        }
    },
    journal="WAL",
)
DEADLOCK = Provocation(
    wait_for_each_other,
    codes={"postgresql": "40P01", "mysql": "1213", "mariadb": "1213"},
    # At the default levels PostgreSQL would report 40001 to the second execution.
    options={
        name: {"isolation_level": "READ COMMITTED"}
        for name in ("postgresql", "mysql", "mariadb")
    },
)
LOCK_TIMEOUT = Provocation(
    wait_too_long,
    codes={"mysql": "1205", "mariadb": "1205", "sqlite": "5"},
    options={
        "mysql": _IMPATIENT_SESSION,
        "mariadb": _IMPATIENT_SESSION,
        "sqlite": _IMPATIENT_DRIVER,
    },
)
_AT_COMMIT = {
    "sqlite": Provocation(
        lose_at_commit, codes={"sqlite": "5"}, options={"sqlite": _IMPATIENT_DRIVER}
    ),
    "postgresql": Provocation(
        lose_at_commit_to_a_writer,
        codes={"postgresql": "40001"},
        options={"postgresql": {"isolation_level": "SERIALIZABLE"}},
        rival_options={"postgresql": {"isolation_level": "SERIALIZABLE"}},
    ),
}

PROVOCATIONS = [
    pytest.param(
        STALE_WRITE,
        id="a stale write",
        marks=pytest.mark.requires("stale_writes_fail"),
    ),
    pytest.param(DEADLOCK, id="a deadlock", marks=pytest.mark.requires("deadlocks")),
    pytest.param(
        LOCK_TIMEOUT,
        id="a lock that took too long",
        marks=pytest.mark.requires("lock_timeouts"),
    ),
]

MakeArena = Callable[[Provocation], Arena]


@pytest.fixture
def make_arena(
    make_app: AppFactory, tables: str, dialect_name: str
) -> Iterator[MakeArena]:
    """Return a factory of arenas, with eight accounts that are worth nothing."""
    cleanup = contextlib.ExitStack()

    def make_arena(provocation: Provocation) -> Arena:
        app = make_app(**provocation.options.get(dialect_name, {}))
        cleanup.enter_context(app.app_context())
        cleanup.callback(set_journal, tables, dialect_name, "DELETE")
        set_journal(tables, dialect_name, provocation.journal)
        db.session.add_all([Account(id=id, value=0) for id in range(1, 9)])
        db.session.commit()
        db.session.remove()
        rival = Rival(tables, **provocation.rival_options.get(dialect_name, {}))
        cleanup.callback(db.engine.dispose)
        cleanup.callback(db.session.remove)
        cleanup.callback(rival.close)
        return Arena(tables, rival)

    with cleanup:
        yield make_arena


#: How a database that has journal modes is told one.
JOURNAL = {"sqlite": "PRAGMA journal_mode = {}"}


def set_journal(url: str, dialect_name: str, mode: str) -> None:
    if statement := JOURNAL.get(dialect_name):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement.format(mode))
        engine.dispose()


# What code may make of a conflict.

Treatment = Callable[[Callable[[], None]], None]


def leave(provoke: Callable[[], None]) -> None:
    provoke()


def nest(provoke: Callable[[], None]) -> None:
    with db.session.begin_nested():
        provoke()


def wrap(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError as error:
        raise OutOfOrder from error


def replace(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError):
        provoke()
        return
    raise OutOfOrder


def swallow(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError):
        provoke()


def nest_and_swallow(provoke: Callable[[], None]) -> None:
    with contextlib.suppress(sa.exc.DBAPIError), db.session.begin_nested():
        provoke()


def swallow_and_nest(provoke: Callable[[], None]) -> None:
    with db.session.begin_nested():
        swallow(provoke)


def swallow_and_roll_back(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError:
        db.session.rollback()


def swallow_and_commit(provoke: Callable[[], None]) -> None:
    try:
        provoke()
    except sa.exc.DBAPIError:
        # A failed flush lets nobody commit before a rollback.
        with contextlib.suppress(sa.exc.InvalidRequestError, sa.exc.DBAPIError):
            db.session.commit()


TREATMENTS = [
    leave,
    nest,
    wrap,
    replace,
    swallow,
    nest_and_swallow,
    swallow_and_nest,
    swallow_and_roll_back,
    swallow_and_commit,
]


def names() -> list[str]:
    query = sa.select(Tag.name).order_by(Tag.name)
    with db.engine.connect() as connection:
        return list(connection.scalars(query))


def value_of(id: int) -> int:
    with db.engine.connect() as connection:
        return connection.execute(
            sa.select(Account.value).where(Account.id == id)
        ).scalar_one()


@pytest.mark.parametrize("treat", TREATMENTS)
@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_a_block_with_a_conflict_is_executed_again_as_a_whole(
    make_arena: MakeArena, provocation: Provocation, treat: Treatment, dialect_name: str
) -> None:
    """A11, A13: whatever its code makes of the exception; nothing is half committed."""
    arena = make_arena(provocation)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        treat(lambda: provocation.provoke(arena))
        # Without the rule, this half would be committed alone.
        db.session.execute(sa.insert(Tag).values(name=f"run {arena.executions}"))

    block()

    assert arena.codes[0] == provocation.codes[dialect_name]
    assert arena.executions == 2
    assert names() == ["run 2"]
    assert value_of(1) == 101


@pytest.mark.requires("concurrent_writers")
@pytest.mark.parametrize("treat", [swallow, nest_and_swallow])
def test_the_first_half_of_a_block_is_not_committed_alone(
    make_arena: MakeArena, treat: Treatment
) -> None:
    """A13: nor is it lost, when the conflict is swallowed."""
    arena = make_arena(DEADLOCK)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        db.session.execute(sa.insert(Tag).values(name=f"before {arena.executions}"))
        treat(lambda: wait_for_each_other(arena))

    block()

    assert arena.executions == 2
    assert names() == ["before 2"]


@pytest.mark.requires("commit_conflicts")
def test_a_conflict_at_commit_is_repeated(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A5: the function has returned already, and is executed again nevertheless."""
    provocation = _AT_COMMIT[dialect_name]
    arena = make_arena(provocation)
    returned = []

    @db.atomic
    def block() -> Account:
        arena.executions += 1
        account = db.session.get_one(Account, 1)
        provocation.provoke(arena)
        returned.append(len(arena.codes))
        # From here on, COMMIT is the only statement.
        return account

    account = block()

    assert arena.codes[0] == provocation.codes[dialect_name]
    assert returned == [0, 1]
    assert value_of(1) == account.value == 1
    assert sa.inspect(account).detached


@pytest.mark.requires("commit_conflicts")
def test_the_conflict_at_commit_is_raised_when_the_attempts_run_out(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A5, A8: itself; the session can be used again."""
    provocation = _AT_COMMIT[dialect_name]
    arena = make_arena(provocation)
    current_app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(attempts=1)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        provocation.provoke(arena)

    with pytest.raises(sa.exc.OperationalError) as caught:
        block()
    arena.rival.rollback()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert get_db_error_code(caught.value) == provocation.codes[dialect_name]
    assert names() == ["after"]
    assert value_of(1) == 0


@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_a_block_that_has_joined_work_is_given_up(
    make_arena: MakeArena, provocation: Provocation, dialect_name: str
) -> None:
    """A4, A13: the conflict is the cause."""
    arena = make_arena(provocation)
    db.session.add(Tag(name="joined"))

    @db.atomic
    def block() -> None:
        arena.executions += 1
        with db.session.no_autoflush:
            provocation.provoke(arena)

    with pytest.raises(DBSerializationError) as caught:
        block()

    assert isinstance(caught.value.__cause__, sa.exc.DBAPIError)
    code = get_db_error_code(caught.value.__cause__)
    assert code == provocation.codes[dialect_name]
    assert arena.executions == 1
    assert names() == []


# What is no conflict.


def violate_not_null() -> None:
    db.session.execute(sa.insert(Tag).values(name=None))


def misspell() -> None:
    db.session.execute(sa.text("SELEKT 1"))


def collide() -> None:
    db.session.execute(sa.insert(Account).values(id=1))


def ask_for_what_is_not_there() -> None:
    db.session.execute(sa.text("SELECT nothing FROM nowhere"))


NOTHING = Provocation(lambda arena: None, codes={})


@pytest.mark.parametrize(
    "fail", [violate_not_null, misspell, collide, ask_for_what_is_not_there]
)
def test_an_error_that_is_no_conflict_is_raised_at_once(
    make_arena: MakeArena, fail: Callable[[], None]
) -> None:
    """A1, A11: unchanged; the session can be used again."""
    arena = make_arena(NOTHING)
    raised = []

    @db.atomic
    def block() -> None:
        arena.executions += 1
        try:
            fail()
        except sa.exc.DBAPIError as error:
            raised.append(error)
            raise

    with pytest.raises(sa.exc.DBAPIError) as caught:
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert raised == [caught.value]
    assert arena.executions == 1
    assert names() == ["after"]


#: How a server is told to end a connection.
KILL = {
    "postgresql": "SELECT pg_terminate_backend({})",
    "mysql": "KILL {}",
    "mariadb": "KILL {}",
}


@pytest.mark.requires("row_locks")
def test_a_lost_connection_is_no_conflict(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A11: nobody knows what has become of the transaction."""
    arena = make_arena(NOTHING)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        arena.rival.run(KILL[dialect_name].format(arena.number))
        write()

    with pytest.raises(sa.exc.DBAPIError) as caught:
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert caught.value.connection_invalidated
    assert arena.executions == 1
    assert names() == ["after"]


#: How each database is made to give a statement up.
SLOW: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("SET LOCAL statement_timeout = 50", "SELECT pg_sleep(60)"),
    "mysql": (
        "SET SESSION max_execution_time = 50",
        "SELECT count(*) FROM information_schema.collations a,"
        " information_schema.collations b, information_schema.collations c,"
        " information_schema.collations d",
    ),
    "mariadb": ("SET STATEMENT max_statement_time = 0.05 FOR SELECT sleep(60)",),
}


@pytest.mark.requires("row_locks")
def test_a_statement_that_took_too_long_is_no_conflict(
    make_arena: MakeArena, dialect_name: str
) -> None:
    """A11: it would take as long in another attempt."""
    arena = make_arena(NOTHING)

    @db.atomic
    def block() -> None:
        arena.executions += 1
        for statement in SLOW[dialect_name]:
            db.session.execute(sa.text(statement))

    with pytest.raises(sa.exc.DBAPIError):
        block()
    db.execute_atomic(lambda: db.session.add(Tag(name="after")))

    assert arena.executions == 1
    assert names() == ["after"]


def test_an_error_of_another_session_is_no_conflict_of_the_block(
    make_arena: MakeArena,
) -> None:
    """A13: what has been rolled back elsewhere is none of its business."""
    arena = make_arena(NOTHING)
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    @db.atomic
    def block() -> None:
        arena.executions += 1
        with app.app_context(), contextlib.suppress(DBSerializationError):
            db.execute_atomic(raise_serialization_error)
        db.session.add(Tag(name="done"))

    block()

    assert arena.executions == 1
    assert names() == ["done"]


def raise_serialization_error() -> None:
    raise DBSerializationError
