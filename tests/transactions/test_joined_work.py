"""Work that cannot be repeated: what a block has joined, and what it has committed."""

from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from support.lost_races import LostRaces
from support.models import Account, db
from support.own_models import OwnModel, model_of
from support.races import OutOfOrder, Race
from support.signatures import DBFactory, Stored
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, DBSerializationError


def add_instance() -> None:
    db.session.add(Account(id=2))


def change_instance() -> None:
    db.session.get_one(Account, 1).value = 7


def delete_instance() -> None:
    db.session.delete(db.session.get_one(Account, 1))


def flush_instance() -> None:
    db.session.add(Account(id=2))
    db.session.flush()


def execute_update() -> None:
    db.session.execute(sa.update(Account).values(value=7))


def use_savepoint() -> None:
    with db.session.begin_nested():
        db.session.add(Account(id=2))


def execute_text(statement: str) -> Callable[[], None]:
    def execute() -> None:
        db.session.execute(sa.text(statement))

    return execute


def use_connection() -> None:
    connection = db.session.connection()
    connection.exec_driver_sql("INSERT INTO account (id, value) VALUES (2, 0)")


WORK = [
    pytest.param(add_instance, id="a pending instance"),
    pytest.param(change_instance, id="a changed instance"),
    pytest.param(delete_instance, id="a deleted instance"),
    pytest.param(flush_instance, id="a flushed instance"),
    pytest.param(execute_update, id="an executed update"),
    pytest.param(use_savepoint, id="a released savepoint"),
    pytest.param(use_connection, id="a statement of the connection"),
    *(
        pytest.param(execute_text(statement), id=statement)
        for statement in (
            "update account set value = 7",
            "\n /* SELECT */ UPDATE account SET value = 7",
            "-- SELECT\n DELETE FROM account",
            "INSERT INTO account (id, value) SELECT 2, 0",
        )
    ),
]


@pytest.fixture
def account(app: Flask) -> None:
    db.session.add(Account(id=1, value=1))
    db.session.commit()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("work", WORK)
def test_a_block_that_has_joined_work_is_not_executed_again(
    work: Callable[[], None], stored: Stored
) -> None:
    """A4: that work would be lost silently."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    work()

    with pytest.raises(DBSerializationError, match="joined changes") as caught:
        block()

    assert str(caught.value.__cause__) == "lost race 1"
    assert race.runs == 1
    assert stored() == {1: 1}
    assert list(db.session.new) == []


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("work", WORK)
def test_a_block_commits_the_work_that_it_has_joined(
    work: Callable[[], None], stored: Stored, ends: Counter[str]
) -> None:
    """A4: together with its own."""
    work()

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=3))

    block()

    assert ends == {"commit": 1}
    assert stored() != {1: 1, 3: 0}
    assert stored()[3] == 0


def test_a_block_rolls_back_the_work_that_it_has_joined(
    app: Flask, stored: Stored
) -> None:
    """A4: together with its own, when it raises."""
    flush_instance()

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=3))
        raise OutOfOrder

    with pytest.raises(OutOfOrder):
        block()

    assert stored() == {}


@pytest.mark.requires("explain_analyze")
def test_a_write_that_is_explained_is_joined(app: Flask, stored: Stored) -> None:
    """A4: the database executes it to see how long it takes."""
    race = Race(losses=1)
    execute_text("EXPLAIN ANALYZE INSERT INTO account (id, value) VALUES (2, 0)")()

    with pytest.raises(DBSerializationError):
        db.atomic(race.run)()

    assert stored() == {}


def read_instance() -> None:
    assert db.session.get_one(Account, 1).value == 1


def lock_instance() -> None:
    assert Account.lock_instance(1)


def set_same_value() -> None:
    account = db.session.get_one(Account, 1)
    account.value += 0


def roll_back_work() -> None:
    flush_instance()
    db.session.rollback()


def commit_work() -> None:
    change_instance()
    db.session.commit()


def read_in_savepoint() -> None:
    with db.session.begin_nested():
        read_instance()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(read_instance, id="a read"),
        pytest.param(lock_instance, id="a locking read"),
        pytest.param(set_same_value, id="a change that is none"),
        pytest.param(roll_back_work, id="what has been rolled back"),
        pytest.param(commit_work, id="what has been committed"),
        pytest.param(read_in_savepoint, id="a savepoint"),
        *(
            pytest.param(execute_text(statement), id=statement)
            for statement in (
                "select 1",
                "\n /* UPDATE */ -- DELETE\n SELECT 1",
                "WITH answer AS (SELECT 42 AS x) SELECT x FROM answer",
                "EXPLAIN SELECT 1",
            )
        ),
    ],
)
def test_a_block_that_has_joined_nothing_is_executed_again(
    work: Callable[[], None],
) -> None:
    """A4: a rollback loses nothing of what was done before the block."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    work()

    block()

    assert race.runs == 2


def test_work_of_a_connection_that_was_there_first_is_joined(app: Flask) -> None:
    """A4: even on a connection that was made before the session had any."""
    race = Race(losses=1)
    block = db.atomic(race.run)
    with db.engine.connect() as connection, app.app_context():
        # Now the engine has listeners, which this connection does not know.
        db.session.connection()
        db.session.rollback()
        db.session.connection(bind_arguments={"bind": connection})
        connection.exec_driver_sql("INSERT INTO account (id, value) VALUES (2, 0)")

        with pytest.raises(DBSerializationError, match="joined changes"):
            block()

    assert race.runs == 1


def commit_the_connection() -> None:
    db.session.flush()
    db.session.connection().commit()


@pytest.mark.parametrize(
    "commit",
    [
        pytest.param(lambda: db.session.commit(), id="its session"),
        pytest.param(commit_the_connection, id="its connection"),
    ],
)
def test_a_block_that_has_committed_is_not_executed_again(
    commit: Callable[[], None], app: Flask, stored: Stored
) -> None:
    """A4: what it has committed would be done twice."""
    race = Race(losses=1)

    @db.atomic
    def block() -> None:
        db.session.add(Account(id=1))
        commit()
        db.session.add(Account(id=2))
        race.run()

    with pytest.raises(DBSerializationError, match="committed a part of its own"):
        block()

    assert race.runs == 1
    assert stored() == {1: 0}


# SQLAlchemy warns when it then rolls back the connection that has been committed.
@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_a_block_in_two_databases_is_not_repeated_if_one_commit_fails(
    make_db: DBFactory, new_database: Callable[[], str]
) -> None:
    """A4: the other one may have been committed."""
    own_db = make_db(AtomicProceduresMixin, binds={"other": new_database()})

    @model_of(own_db)
    class Here(OwnModel):
        id = sa.Column(sa.Integer, primary_key=True)

    @model_of(own_db)
    class There(OwnModel):
        __bind_key__ = "other"
        id = sa.Column(sa.Integer, primary_key=True)

    own_db.create_all()
    races = LostRaces(own_db.engines["other"])
    calls: list[str] = []

    def block() -> None:
        calls.append("block")
        own_db.session.add(Here())
        own_db.session.execute(sa.delete(There))

    races.at_commits(1)
    with pytest.raises(DBSerializationError, match="cannot be retried"):
        own_db.execute_atomic(block)

    assert calls == ["block"]
    races.remove()
    own_db.engines["other"].dispose()
