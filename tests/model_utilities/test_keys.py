"""What is the key of an instance, and what cannot be one."""

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from support.models import Account, Note, Pair, Tag, db
from support.signatures import AddAccount


def test_the_key_of_an_instance_is_a_tuple(add_account: AddAccount) -> None:
    """M2: even when there is only one value."""
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
