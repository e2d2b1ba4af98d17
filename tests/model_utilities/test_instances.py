"""How instances are looked up and locked."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import orm

from support.models import Account, Pair, db
from support.own_models import OwnModel, model_of
from support.rivals import TIMEOUT, Rival
from support.signatures import AddAccount, AppFactory, DBFactory
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin
from swpt_pythonlib.flask_signalbus._dialects import traits_of


def test_an_instance_is_found_by_its_key(add_account: AddAccount) -> None:
    """M3: given as a scalar, or as a tuple."""
    account = add_account(id=7)
    db.session.add(Pair(a=1, b=2, text="x"))
    db.session.flush()

    pair = Pair.get_instance((1, 2))

    assert Account.get_instance(7) is account
    assert Account.get_instance((7,)) is account
    assert pair is not None
    assert pair.text == "x"


@pytest.mark.parametrize("method", ["get_instance", "lock_instance"])
def test_what_does_not_exist_is_none(app: Flask, method: str) -> None:
    """M3, M4: a missing row is no error."""
    assert getattr(Account, method)(7) is None


def test_an_instance_of_the_session_is_returned_without_sql(
    add_account: AddAccount, statements: list[str]
) -> None:
    """M3: as it is, even if it's expired."""
    account = add_account()
    statements.clear()

    found = Account.get_instance(account)

    assert found is account
    assert statements == []


def test_a_new_instance_of_the_session_is_returned_without_sql(
    app: Flask, statements: list[str]
) -> None:
    """M3: it isn't flushed either."""
    account = Account(id=1)
    db.session.add(account)

    found = Account.get_instance(account)

    assert found is account
    assert statements == []


def test_another_sessions_instance_is_looked_up(add_account: AddAccount) -> None:
    """M3: by its key, even if it has been changed."""
    account = add_account(value=100)
    db.session.refresh(account)
    db.session.expunge(account)
    account.value = 0

    found = Account.get_instance(account)

    assert found is not None
    assert found is not account
    assert found.value == 100


@pytest.mark.parametrize("method", ["get_instance", "lock_instance"])
def test_loader_options_are_heeded(add_account: AddAccount, method: str) -> None:
    """M3, M4: of an instance that has to be loaded."""
    add_account()
    db.session.expunge_all()

    found = getattr(Account, method)(1, orm.defer(Account.value))

    assert sa.inspect(found).unloaded == {"value"}


def test_an_instance_is_locked_by_its_key(add_account: AddAccount) -> None:
    """M4: it is the one of the session."""
    account = add_account()

    assert Account.lock_instance(1) is account
    assert Account.lock_instance((1,)) is account
    assert Account.lock_instance(account) is account


def test_locking_loads_the_present_values(add_account: AddAccount) -> None:
    """M4: though the instance has been loaded before."""
    account = add_account(value=100)
    account.value += 0
    db.session.execute(
        sa.update(Account).values(value=7).execution_options(synchronize_session=False)
    )
    before = account.value

    found = Account.lock_instance(1)

    assert before == 100
    assert found is account
    assert account.value == 7


def test_locking_keeps_what_is_pending(add_account: AddAccount) -> None:
    """M4: the session is flushed before values are loaded."""
    account = add_account(value=100)
    account.value = 7

    with db.session.no_autoflush:
        Account.lock_instance((1,))

    assert account.value == 7


@pytest.mark.parametrize(
    "kw",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"read": True}, id="read"),
        pytest.param({"nowait": True}, id="nowait"),
        pytest.param({"skip_locked": True}, id="skip_locked"),
        pytest.param({"key_share": True}, id="key_share"),
        pytest.param({"of": Account}, id="of"),
    ],
)
def test_arguments_of_with_for_update_are_passed_on(
    add_account: AddAccount, statements: list[str], kw: dict[str, Any]
) -> None:
    """M4: all five of them; only the row of the instance is locked by default."""
    add_account()
    # SQLAlchemy writes a shared lock of MySQL in a way that knows no tables.
    shares = traits_of(db.engine.dialect).shares_locks_of
    locking = kw if kw.get("read") and not shares else {"of": Account, **kw}
    expected = sa.select(Account).where(Account.id == 1).with_for_update(**locking)

    Account.lock_instance(1, **kw)

    assert statements[-1] == str(expected.compile(db.engine))


def test_an_unknown_argument_is_refused(app: Flask) -> None:
    """M4: as 'with_for_update' does."""
    with pytest.raises(TypeError, match="patiently"):
        Account.lock_instance(1, patiently=True)


@pytest.mark.requires("row_locks")
def test_a_locked_row_makes_others_wait(add_account: AddAccount, rival: Rival) -> None:
    """M4: until the transaction ends."""
    add_account(value=100)
    Account.lock_instance(1)

    update = rival.start("UPDATE account SET value = value + 1 WHERE id = 1")
    rival.observer.await_waiting(rival.number)
    assert not update.done()
    db.session.commit()
    update.result(TIMEOUT)
    rival.commit()

    assert db.session.get_one(Account, 1).value == 101


@pytest.mark.requires("row_locks")
def test_values_are_read_under_the_lock(make_app: AppFactory, rival: Rival) -> None:
    """M4: another transaction may have changed them since they were loaded."""
    with make_app(isolation_level="READ COMMITTED").app_context():
        db.session.add(Account(id=1, value=100))
        db.session.commit()
        account = db.session.get_one(Account, 1)
        rival.run("UPDATE account SET value = 7 WHERE id = 1")
        rival.commit()
        before = account.value

        Account.lock_instance(account)

        assert (before, account.value) == (100, 7)


@pytest.mark.requires("skip_locked")
def test_a_row_that_another_one_has_locked_can_be_passed_over(
    make_app: AppFactory, rival: Rival
) -> None:
    """M4: it is not found then; or it is an error, at once."""
    with make_app(isolation_level="READ COMMITTED").app_context():
        db.session.add(Account(id=1))
        db.session.commit()
        rival.run("UPDATE account SET value = 7 WHERE id = 1")

        passed_over = Account.lock_instance(1, skip_locked=True)
        with pytest.raises(sa.exc.DBAPIError):
            Account.lock_instance(1, nowait=True)

        assert passed_over is None


def test_the_other_instances_of_the_session_are_left_alone(
    add_account: AddAccount,
) -> None:
    """M3, M4: nothing is expired or detached by the way."""
    other = add_account(id=1)
    add_account(id=2)
    db.session.refresh(other)

    Account.lock_instance(2)

    assert other in db.session
    assert not sa.inspect(other).expired


def test_relationships_that_are_joined_eagerly_are_not_in_the_way_of_a_lock(
    make_db: DBFactory,
) -> None:
    """M4: PostgreSQL cannot lock the nullable side of an outer join."""
    own_db = make_db(AtomicProceduresMixin)

    @model_of(own_db)
    class Harbour(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    @model_of(own_db)
    class Ship(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        kind: orm.Mapped[str] = orm.mapped_column(sa.String(9), default="ship")
        harbour_id: orm.Mapped[int | None] = orm.mapped_column(
            sa.ForeignKey(Harbour.id)
        )
        harbour: orm.Mapped[Any] = orm.relationship(Harbour, lazy="joined")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ship"}

    class Ferry(Ship):  # of the model that has just been made
        __tablename__ = "ferry"
        id: orm.Mapped[int] = orm.mapped_column(
            sa.ForeignKey(Ship.id), primary_key=True
        )
        cars: orm.Mapped[int] = orm.mapped_column(default=0)
        __mapper_args__ = {"polymorphic_identity": "ferry"}

    own_db.create_all()
    own_db.session.add_all([Ship(id=1), Ferry(id=2, harbour=Harbour(id=3))])
    own_db.session.commit()

    ship: Any = Ship.lock_instance(1)
    ferry: Any = Ferry.lock_instance(2, key_share=True)

    assert ship.harbour is None
    assert ferry.harbour.id == 3
