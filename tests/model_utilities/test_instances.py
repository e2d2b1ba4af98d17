"""The class methods that every model has."""

from collections.abc import Callable, Iterator
from typing import Any

import flask_sqlalchemy.model as fsa
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from support.models import Account, Note, Pair, Tag, db
from support.rivals import TIMEOUT, Rival
from support.signatures import AppFactory
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin
from swpt_pythonlib.flask_signalbus.atomic import _ModelUtilitiesMixin

AddAccount = Callable[..., Account]


@pytest.fixture
def add_account(app: Flask) -> AddAccount:
    def add_account(id: int = 1, value: int = 100) -> Account:
        account = Account(id=id, value=value)
        db.session.add(account)
        db.session.commit()
        return account

    return add_account


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """Return the statements that are executed from now on."""
    executed: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    yield executed
    sa.event.remove(db.engine, "before_cursor_execute", note)


@pytest.fixture
def rival(tables: str) -> Iterator[Rival]:
    rival = Rival(tables)
    yield rival
    rival.close()


# Every declarative base that there is.


class BothMixins(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass


class MixinsReversed(SignalBusMixin, AtomicProceduresMixin, SQLAlchemy):
    pass


class OneMixin(AtomicProceduresMixin, SQLAlchemy):
    pass


def its_own_model() -> Any:
    return fsa.Model


def own_model() -> Any:
    class OwnModel(fsa.Model):
        def greet(self) -> str:
            return "hello"

    return OwnModel


def plain_class() -> Any:
    class Plain:
        pass

    return Plain


def declarative() -> Any:
    class Base(orm.DeclarativeBase):
        pass

    return Base


def declarative_without_meta() -> Any:
    class Base(orm.DeclarativeBaseNoMeta):
        pass

    return Base


def declarative_behind_a_mixin() -> Any:
    class Mixin:
        def greet(self) -> str:
            return "hello"

    class Base(Mixin, orm.DeclarativeBase):
        metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})

    return Base


def abstract_child_of_a_base() -> Any:
    class Base(orm.DeclarativeBase):
        pass

    class Child(Base):
        __abstract__ = True

    return Child


def base_with_a_registry() -> Any:
    class Base(orm.DeclarativeBase):
        registry = orm.registry(type_annotation_map={str: sa.String(77)})

    return Base


def base_with_an_annotation_map() -> Any:
    class Base(orm.DeclarativeBase):
        type_annotation_map = {str: sa.String(77)}

    return Base


def dataclass_first() -> Any:
    class Base(orm.MappedAsDataclass, orm.DeclarativeBase, kw_only=True):
        pass

    return Base


def dataclass_last() -> Any:
    class Base(orm.DeclarativeBase, orm.MappedAsDataclass, kw_only=True):
        pass

    return Base


def dataclass_first_without_meta() -> Any:
    class Base(orm.MappedAsDataclass, orm.DeclarativeBaseNoMeta, kw_only=True):
        pass

    return Base


def dataclass_last_without_meta() -> Any:
    class Base(orm.DeclarativeBaseNoMeta, orm.MappedAsDataclass, kw_only=True):
        pass

    return Base


def created_already() -> Any:
    return orm.declarative_base()


def created_already_with_names() -> Any:
    return orm.declarative_base(cls=fsa.Model, metaclass=fsa.DefaultMeta)


BASES = [
    its_own_model,
    own_model,
    plain_class,
    declarative,
    declarative_without_meta,
    declarative_behind_a_mixin,
    abstract_child_of_a_base,
    base_with_a_registry,
    base_with_an_annotation_map,
    dataclass_first,
    dataclass_last,
    dataclass_first_without_meta,
    dataclass_last_without_meta,
    created_already,
    created_already_with_names,
]


def model_of(extension: type[SQLAlchemy], base: Any) -> tuple[SQLAlchemy, Any]:
    """Return a database with one model, made with the given base."""
    database = extension(model_class=base)
    parent: Any = database.Model

    class Item(parent):  # type: ignore[misc]
        __tablename__ = "item"

        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str] = orm.mapped_column()

    return database, Item


def facts_of(item: Any) -> dict[str, Any]:
    """Return what a base may have made of a model."""
    return {
        "repr": type(item).__repr__.__qualname__,
        "type": item.__table__.c.name.type.length,
        "key": item.__table__.primary_key.name,
        "greeting": getattr(item, "greet", str)(),
        "equal": item == type(item)(id=1, name="a"),
    }


def outcome_of(extension: type[SQLAlchemy], base: Any) -> dict[str, Any] | str:
    """Return what becomes of an item, or why there can not be one."""
    try:
        _, item_class = model_of(extension, base)
    except sa.exc.InvalidRequestError as error:
        # SQLAlchemy 2.1 does not let Flask-SQLAlchemy copy a dataclass.
        return type(error).__name__

    return facts_of(item_class(id=1, name="a"))


@pytest.mark.once
@pytest.mark.parametrize("make_base", BASES)
def test_models_are_what_they_are_without_the_mixin(
    make_base: Callable[[], Any],
) -> None:
    """A12: a base that Flask-SQLAlchemy accepts is accepted, any other is not."""
    without = outcome_of(SQLAlchemy, make_base())

    with_mixin = outcome_of(OneMixin, make_base())

    assert with_mixin == without


@pytest.mark.once
@pytest.mark.parametrize("extension", [BothMixins, MixinsReversed])
@pytest.mark.parametrize("make_base", BASES)
def test_models_of_every_base_have_the_utilities(
    make_base: Callable[[], Any], extension: type[SQLAlchemy]
) -> None:
    """M1, A12: whatever the base that Flask-SQLAlchemy accepts."""
    if isinstance(outcome_of(SQLAlchemy, make_base()), str):
        return
    database, item_class = model_of(extension, make_base())
    app = Flask("bases")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    database.init_app(app)

    with app.app_context():
        database.create_all()
        item = item_class(id=1, name="a")
        database.session.add(item)
        found = [item_class.get_instance(1), item_class.lock_instance((1,))]
        key = item_class.get_pk_values(item)
        database.session.rollback()
    with app.app_context():
        database.engine.dispose()

    assert issubclass(database.Model, _ModelUtilitiesMixin)
    assert found == [item, item]
    assert key == (1,)


def test_each_database_has_utilities_for_its_own_session() -> None:
    """M1, A12: a base may serve several databases, one after the other."""
    first = BothMixins()
    second = BothMixins()

    assert first.Model.__fsa__ is first
    assert second.Model.__fsa__ is second
    assert not hasattr(fsa.Model, "get_instance")


# Keys.


def test_the_key_of_an_instance_is_a_tuple(add_account: AddAccount) -> None:
    """M2: also when there is one value only."""
    account = add_account(id=7)

    assert Account.get_pk_values(account) == (7,)


def test_a_scalar_is_wrapped(app: Flask) -> None:
    """M2: any value but a tuple is the only value of a key."""
    assert Account.get_pk_values(7) == (7,)
    assert Account.get_pk_values("seven") == ("seven",)


def test_a_tuple_is_returned_as_it_is(app: Flask) -> None:
    """M2: nothing is looked up, reordered or converted."""
    key = (3, 4)

    assert Pair.get_pk_values(key) is key


def test_the_key_of_a_new_instance_comes_from_the_database(app: Flask) -> None:
    """M2: the session is flushed first."""
    note = Note(text="new")
    db.session.add(note)

    (key,) = Note.get_pk_values(note)

    assert key is not None
    assert key == note.id


def test_the_session_is_flushed_for_an_instance_that_has_a_key(
    add_account: AddAccount,
) -> None:
    """M2: whatever is pending, of whatever model."""
    account = add_account()
    tag = Tag(name="pending")
    db.session.add(tag)

    Account.get_pk_values(account)

    assert sa.inspect(tag).persistent


def test_a_tuple_needs_no_flush(app: Flask) -> None:
    """M2: only an instance may get its key from the database."""
    tag = Tag(name="pending")
    db.session.add(tag)

    Account.get_pk_values((1,))

    assert sa.inspect(tag).pending


def test_a_detached_instance_has_a_key(add_account: AddAccount) -> None:
    """M2: results of blocks are detached."""
    account = add_account(id=7)
    db.session.expunge(account)

    assert Account.get_pk_values(account) == (7,)


@pytest.mark.parametrize("method", ["get_pk_values", "get_instance", "lock_instance"])
@pytest.mark.parametrize(
    ("model", "key"),
    [
        pytest.param(Account, (), id="none of one"),
        pytest.param(Account, (1, 2), id="two of one"),
        pytest.param(Pair, 1, id="a scalar of two"),
        pytest.param(Pair, (1,), id="one of two"),
        pytest.param(Pair, (1, 2, 3), id="three of two"),
    ],
)
def test_a_wrong_number_of_values_is_an_error(
    app: Flask, model: Any, key: Any, method: str
) -> None:
    """M5: a key is never truncated."""
    with pytest.raises(ValueError, match=rf"primary key of '{model.__name__}'.*value"):
        getattr(model, method)(key)


def test_a_key_is_never_none(app: Flask) -> None:
    """M5: an instance that the session doesn't know has no key yet."""
    with pytest.raises(ValueError, match=r"primary key of 'Note' .* must not be None"):
        Note.get_pk_values(Note(text="nobody's"))


def test_an_instance_of_another_model_is_an_error(app: Flask) -> None:
    """M5: an instance is no value of a key."""
    with pytest.raises(TypeError, match=r"'Account' .* expected, got .* of 'Tag'"):
        Account.get_instance(Tag(name="wrong"))


# Instances.


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


# Locks.


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
    """M4: all five of them."""
    add_account()
    expected = sa.select(Account).where(Account.id == 1).with_for_update(**kw)

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
