"""What the errors of each database mean, whatever driver reports them.

The errors are shaped as those of the real drivers are, which need not be installed.
That the drivers really raise them is proved where conflicts are provoked.
"""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from swpt_pythonlib.flask_signalbus._dialects import Strategy, traits_of
from swpt_pythonlib.flask_signalbus._errors import (
    codes_of,
    is_collision,
    is_conflict,
    is_server_fault,
)

pytestmark = pytest.mark.once


def driver_error(*args: Any, **attributes: Any) -> Exception:
    error = Exception(*args)
    vars(error).update(attributes)
    return error


def psycopg2(code: str) -> Exception:
    return driver_error("could not serialize access", pgcode=code)


def psycopg(code: str) -> Exception:
    return driver_error("could not serialize access", sqlstate=code)


def pg8000(code: str) -> Exception:
    return driver_error({"S": "ERROR", "C": code, "M": "could not serialize access"})


def pymysql(code: int) -> Exception:
    return driver_error(code, "Deadlock found", sqlstate="HY000")


def mysqlclient(code: int) -> Exception:
    return driver_error(code, "Deadlock found")


def mysql_connector(code: int) -> Exception:
    return driver_error(code, "Deadlock found", errno=code, sqlstate="HY000")


def mariadb(code: int) -> Exception:
    return driver_error("Deadlock found", errno=code, sqlstate="HY000")


def sqlite3(code: int) -> Exception:
    return driver_error("database is locked", sqlite_errorcode=code)


DRIVERS: dict[str, list[Any]] = {
    "postgresql": [psycopg2, psycopg, pg8000],
    "mysql": [pymysql, mysqlclient, mysql_connector],
    "mariadb": [pymysql, mysqlclient, mysql_connector, mariadb],
    "sqlite": [sqlite3],
}
CONFLICTS: dict[str, list[str | int]] = {
    "postgresql": ["40001", "40P01"],
    "mysql": [1020, 1205, 1213, 3101],
    "mariadb": [1020, 1205, 1213, 3101],
    "sqlite": [5, 261, 262, 517, 773],
}
COLLISIONS: dict[str, list[str | int]] = {
    "postgresql": ["23503", "23505", "23P01"],
    "mysql": [1062, 1451, 1452],
    "mariadb": [1062, 1451, 1452],
    "sqlite": [787, 1555, 2067, 2579],
}
OTHERS: dict[str, list[str | int]] = {
    # NOT NULL, CHECK, an aborted transaction, a timeout, a lost connection, syntax
    "postgresql": ["23502", "23514", "25P02", "57014", "57P01", "42601", "55P03"],
    # NOT NULL, CHECK (MySQL, MariaDB), a savepoint, NOWAIT, a lost connection, syntax
    "mysql": [1048, 3819, 4025, 1305, 3572, 2006, 2013, -1, 1064],
    "mariadb": [1048, 3819, 4025, 1305, 3572, 2006, 2013, -1, 1064],
    # a cursor of one's own, FULL, IOERR, CORRUPT, NOT NULL, CHECK, an error
    "sqlite": [6, 13, 10, 11, 1299, 275, 1],
}


def every(codes: dict[str, list[str | int]]) -> list[Any]:
    return [
        pytest.param(name, driver, code, id=f"{name}-{driver.__name__}-{code}")
        for name, drivers in DRIVERS.items()
        for driver in drivers
        for code in codes[name]
    ]


def dialect(name: str) -> Dialect:
    found: Dialect = sa.make_url(f"{name}://").get_dialect()()
    return found


def wrapped(error: Exception, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind("UPDATE", {}, error)


@pytest.mark.parametrize(("name", "driver", "code"), every(CONFLICTS))
def test_every_driver_tells_of_a_conflict(name: str, driver: Any, code: Any) -> None:
    """A11: the code counts, wherever the driver keeps it."""
    error = wrapped(driver(code))

    assert is_conflict(error, traits_of(dialect(name)))
    assert not is_collision(error, traits_of(dialect(name)))


@pytest.mark.parametrize(
    ("message", "is_lost_race"),
    [
        ("Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT", True),
        ("Fehler 149 - 'Lock deadlock; Retry transaction' beim COMMIT", True),
        ("Got error 6 - 'No such device or address' during COMMIT", False),
    ],
    ids=["lost race", "in another language", "other error"],
)
def test_a_failed_commit_may_have_lost_a_race(message: str, is_lost_race: bool) -> None:
    """A11: group replication tells by words; for a burst, the server is to blame."""
    error = wrapped(driver_error(1180, message))
    traits = traits_of(dialect("mysql"))

    assert is_conflict(error, traits) == is_lost_race
    assert is_server_fault(error, traits)


@pytest.mark.parametrize(("name", "driver", "code"), every(COLLISIONS))
def test_every_driver_tells_of_a_collision(name: str, driver: Any, code: Any) -> None:
    """A9, A11: a duplicate key, a foreign key, an exclusion constraint."""
    error = wrapped(driver(code), IntegrityError)

    assert is_collision(error, traits_of(dialect(name)))
    assert not is_conflict(error, traits_of(dialect(name)))


@pytest.mark.parametrize(("name", "driver", "code"), every(OTHERS))
def test_other_errors_are_what_they_are(name: str, driver: Any, code: Any) -> None:
    """A9, A11: what another attempt would not cure is not repeated."""
    error = wrapped(driver(code))

    assert not is_conflict(error, traits_of(dialect(name)))
    assert not is_collision(error, traits_of(dialect(name)))


@pytest.mark.parametrize(
    "kind",
    [
        sa.exc.DatabaseError,  # pg8000 at COMMIT, mysql-connector
        sa.exc.InternalError,  # mysql-connector
        sa.exc.OperationalError,
        sa.exc.ProgrammingError,  # pg8000 at a statement
    ],
)
def test_the_class_of_an_error_says_nothing(kind: type[DBAPIError]) -> None:
    """A11: drivers disagree about the class that a conflict belongs to."""
    error = wrapped(pg8000("40001"), kind)

    assert is_conflict(error, traits_of(dialect("postgresql")))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param("postgresql", psycopg2("40001"), id="an error of a bare driver"),
        pytest.param("postgresql", RuntimeError("40001"), id="another error"),
        pytest.param("mysql", wrapped(driver_error("1213")), id="a code as a message"),
        pytest.param("mysql", wrapped(driver_error()), id="no argument at all"),
        pytest.param("mysql", wrapped(driver_error(True, errno=None)), id="no number"),
        pytest.param("postgresql", wrapped(pymysql(1213)), id="of another database"),
        pytest.param("sqlite", wrapped(pymysql(1213)), id="of another one"),
        pytest.param("mssql", wrapped(pymysql(1213)), id="of an unknown database"),
    ],
)
def test_what_only_looks_like_a_conflict_is_none(name: str, error: Exception) -> None:
    """A11: only an error of SQLAlchemy with a code of its database is a conflict."""
    traits = traits_of(dialect(name))

    assert not is_conflict(error, traits)
    assert not is_collision(error, traits)


@pytest.mark.parametrize(
    ("name", "error", "is_one"),
    [
        pytest.param("mariadb", pymysql(1205), False, id="MariaDB's NOWAIT"),
        pytest.param("mariadb", pymysql(1020), True, id="a changed record"),
        pytest.param("mysql", pymysql(1213), True, id="a deadlock"),
        pytest.param("postgresql", psycopg2("40001"), True, id="PostgreSQL"),
    ],
)
def test_nowait_hides_no_conflict(name: str, error: Exception, is_one: bool) -> None:
    """A11: only MariaDB's timeout means that the lock was not to be waited for."""
    statement = "SELECT 1 FOR UPDATE NOWAIT"
    wrapped = sa.exc.DBAPIError(statement, {}, error)

    assert is_conflict(wrapped, traits_of(dialect(name))) == is_one


def test_of_an_unknown_database_nothing_is_assumed() -> None:
    """A11: it gets portable statements, and its own isolation levels."""
    traits = traits_of(dialect("mssql"))

    assert traits.strategy is Strategy.LOCK_AND_DELETE_EACH
    assert traits.conflicts == traits.collisions == frozenset()
    assert traits.flush_isolation_level is None
    assert traits.atomic_isolation_level is None
    assert traits.begin is None


def test_mariadb_is_known_by_both_of_its_names() -> None:
    """A11, F3: its URLs start with either."""
    assert traits_of(dialect("mysql")) is traits_of(dialect("mariadb"))


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        pytest.param(psycopg2("40001"), ["40001"], id="psycopg2"),
        pytest.param(psycopg("40001"), ["40001"], id="psycopg"),
        pytest.param(pg8000("40001"), ["40001"], id="pg8000"),
        pytest.param(pymysql(1020), [1020, "HY000"], id="PyMySQL"),
        pytest.param(mysqlclient(1020), [1020], id="mysqlclient"),
        pytest.param(mysql_connector(1020), [1020, 1020, "HY000"], id="Connector"),
        pytest.param(mariadb(1020), [1020, "HY000"], id="mariadb"),
        pytest.param(sqlite3(517), [517], id="sqlite3"),
        pytest.param(RuntimeError("40001"), [], id="another error"),
        pytest.param(None, [], id="no error"),
    ],
)
def test_the_most_exact_code_comes_first(
    error: Exception | None, codes: list[str | int]
) -> None:
    """A11: 1020 and 1205 have an SQLSTATE that says nothing."""
    assert list(codes_of(error)) == codes
