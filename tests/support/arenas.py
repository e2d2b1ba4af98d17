"""Conflicts that are provoked for real, by another connection.

A *provocation* is lost once: the first execution of the block runs into a conflict,
the second has the database for itself.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import ExceptionContext

from support.models import Account, Tag, db
from support.rivals import TIMEOUT, Rival
from swpt_pythonlib.flask_signalbus.utils import get_db_error_code


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


AT_COMMIT = {
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


#: How a database that has journal modes is told one.
JOURNAL = {"sqlite": "PRAGMA journal_mode = {}"}


def set_journal(url: str, dialect_name: str, mode: str) -> None:
    if statement := JOURNAL.get(dialect_name):
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement.format(mode))
        engine.dispose()


def names() -> list[str]:
    query = sa.select(Tag.name).order_by(Tag.name)
    with db.engine.connect() as connection:
        return list(connection.scalars(query))


def value_of(id: int) -> int:
    with db.engine.connect() as connection:
        return connection.execute(
            sa.select(Account.value).where(Account.id == id)
        ).scalar_one()


NOTHING = Provocation(lambda arena: None, codes={})
