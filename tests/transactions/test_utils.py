"""The names kept for code that was written for flask-signalbus 0.5."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import swpt_pythonlib.flask_signalbus as door
from support.models import Account, Tag, db
from support.races import OutOfOrder
from swpt_pythonlib.flask_signalbus.utils import (
    DBSerializationError,
    get_db_error_code,
    retry_on_deadlock,
)


class Race:
    """Is lost a number of times, and then won."""

    def __init__(self, error: Exception, *, losses: int) -> None:
        self.error = error
        self.losses = losses
        self.runs = 0

    def run(self, result: str = "won") -> str:
        self.runs += 1
        db.session.add(Account(id=self.runs))
        db.session.flush()
        if self.runs <= self.losses:
            raise self.error
        return result


def conflict_of(dialect_name: str) -> sa.exc.DBAPIError:
    """Return an error that the driver in use might report."""
    codes: dict[str, dict[str, Any]] = {
        "postgresql": {"sqlstate": "40001"},
        "mysql": {"errno": 1213},
        "mariadb": {"errno": 1213},
        "sqlite": {"sqlite_errorcode": 5},
    }
    error = Exception("lost race")
    vars(error).update(codes[dialect_name])
    return sa.exc.OperationalError("UPDATE", {}, error)


def test_there_is_one_class_of_serialization_errors() -> None:
    """A8: it may be imported from either place."""
    assert DBSerializationError is door.DBSerializationError


#: What each database calls a duplicate key.
DUPLICATE_KEY = {
    "postgresql": "23505",
    "mysql": "1062",
    "mariadb": "1062",
    "sqlite": "1555",
}


def test_an_error_has_a_code(app: Flask, dialect_name: str) -> None:
    """A11: the same for an error of the driver and for the one that wraps it."""
    duplicate = sa.insert(Account).values([{"id": 1}, {"id": 1}])

    with pytest.raises(sa.exc.IntegrityError) as caught:
        db.session.execute(duplicate)

    assert get_db_error_code(caught.value) == DUPLICATE_KEY[dialect_name]
    assert caught.value.orig is not None
    assert get_db_error_code(caught.value.orig) == DUPLICATE_KEY[dialect_name]


@pytest.mark.parametrize("error", [OutOfOrder("40001"), KeyboardInterrupt()])
def test_another_error_has_none(error: BaseException) -> None:
    """A11: whatever its message is."""
    assert get_db_error_code(error) == ""


@pytest.mark.parametrize("make_error", [conflict_of, DBSerializationError])
@pytest.mark.usefixtures("app")
def test_a_function_that_lost_a_race_is_repeated(
    dialect_name: str, make_error: Callable[[str], Exception]
) -> None:
    """A8: after a rollback, with the same arguments."""
    race = Race(make_error(dialect_name), losses=2)
    repeated = retry_on_deadlock(db.session, min_wait=0.0)(race.run)

    result = repeated(result="mine")

    assert result == "mine"
    assert race.runs == 3
    assert db.session.scalars(sa.select(Account.id)).all() == [3]


@pytest.mark.parametrize("retries", [0, 1, 5])
@pytest.mark.usefixtures("app")
def test_retries_are_counted_without_the_first_execution(
    dialect_name: str, retries: int
) -> None:
    """A8: five retries mean six executions at the most; then the error is raised."""
    race = Race(conflict_of(dialect_name), losses=99)
    repeated = retry_on_deadlock(db.session, retries=retries, min_wait=0.0)(race.run)

    with pytest.raises(sa.exc.OperationalError) as caught:
        repeated()

    assert caught.value is race.error
    assert race.runs == retries + 1


@pytest.mark.parametrize(
    "error", [OutOfOrder(), sa.exc.OperationalError("UPDATE", {}, Exception("40001"))]
)
@pytest.mark.usefixtures("app")
def test_any_other_error_is_raised_at_once(error: Exception) -> None:
    """A8: the session is left to the function."""
    race = Race(error, losses=99)

    with pytest.raises(type(error)) as caught:
        retry_on_deadlock(db.session)(race.run)()

    assert caught.value is error
    assert race.runs == 1
    assert db.session().in_transaction()


@pytest.mark.usefixtures("app")
def test_a_real_error_is_told_from_a_conflict() -> None:
    """A11: a value that is missing will be missing again."""
    executions = []

    @retry_on_deadlock(db.session, min_wait=0.0)
    def insert() -> None:
        executions.append(1)
        db.session.execute(sa.insert(Tag).values(name=None))

    with pytest.raises(sa.exc.IntegrityError):
        insert()

    assert len(executions) == 1


@pytest.mark.usefixtures("app")
def test_the_name_of_a_function_is_kept() -> None:
    """A1: as by any well-behaved decorator."""

    @retry_on_deadlock(db.session)
    def deposit() -> None:
        """Deposit."""

    assert (deposit.__name__, deposit.__doc__) == ("deposit", "Deposit.")


@pytest.mark.usefixtures("app")
def test_waits_are_bounded(dialect_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8: the first repetition is immediate, none waits longer than the longest."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    race = Race(conflict_of(dialect_name), losses=20)

    retry_on_deadlock(db.session, retries=20, min_wait=0.5, max_wait=2.0)(race.run)()

    assert waits[0] == 0.0
    assert max(waits[:2]) <= 0.5
    assert 0.5 < max(waits) <= 2.0
