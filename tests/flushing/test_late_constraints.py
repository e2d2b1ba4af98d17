"""Constraints that the database would check at the commit, after the send."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.exc import IntegrityError

from support.broker import broker as current_broker
from support.models import Sends
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory

pytestmark = pytest.mark.requires("late_constraints")


def database_with_a_reference(make_db: DBFactory, **options: Any) -> Any:
    """Return a database in which another table may refer to the signals."""
    own_db = make_db()

    @model_of(own_db)
    class Letter(Sends, OwnModel):
        __tablename__ = 'Le"tt:er%s'
        signalbus_burst_count = 3
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        text: orm.Mapped[str] = orm.mapped_column(sa.String(9))

    @model_of(own_db)
    class Stamp(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        letter_id: orm.Mapped[int | None] = orm.mapped_column(
            sa.ForeignKey(Letter.id, name="st:a%mp", **options)
        )

    own_db.create_all()
    own_db.session.add_all([Letter(id=i, text=text) for i, text in enumerate("abc")])
    own_db.session.commit()
    own_db.letter, own_db.stamp = Letter, Stamp
    return own_db


@pytest.mark.parametrize("initially", ["DEFERRED", "IMMEDIATE"])
def test_a_foreign_key_that_refuses_the_deletion_does_so_before_the_send(
    make_db: DBFactory, initially: str
) -> None:
    """F21, F3: and the other signals of the burst leave."""
    own_db = database_with_a_reference(make_db, deferrable=True, initially=initially)
    own_db.session.add(own_db.stamp(letter_id=1))
    own_db.session.commit()

    with pytest.raises(IntegrityError):
        own_db.signalbus.flushmany()

    assert current_broker().sent == ["a", "c"]


def test_a_sender_may_rely_on_deferred_constraints_of_its_own(
    make_db: DBFactory,
) -> None:
    """F21, F6: only those that the deletion concerns are checked at once."""
    own_db = database_with_a_reference(make_db, deferrable=True, initially="DEFERRED")

    @model_of(own_db)
    class Child(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        parent_id: orm.Mapped[int] = orm.mapped_column(
            sa.ForeignKey("parent.id", deferrable=True, initially="DEFERRED")
        )

    @model_of(own_db)
    class Parent(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    own_db.create_all()

    def write(text: str) -> None:
        own_db.session.execute(sa.insert(Child).values(parent_id=ord(text)))
        own_db.session.execute(sa.insert(Parent).values(id=ord(text)))

    current_broker().meanwhile = write

    count = own_db.signalbus.flushmany()

    assert count == 3
    assert len(own_db.session.scalars(sa.select(Child)).all()) == 3


@pytest.mark.parametrize(
    ("options", "extra"), [({}, 0), ({"deferrable": True, "initially": "DEFERRED"}, 1)]
)
def test_where_nothing_waits_no_statement_is_added(
    make_db: DBFactory, options: dict[str, Any], extra: int
) -> None:
    """F21, F12: one per burst otherwise."""
    own_db = database_with_a_reference(make_db, **options)
    statements: list[str] = []

    @event.listens_for(own_db.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    own_db.signalbus.flushmany()

    assert sum("SET CONSTRAINTS" in statement for statement in statements) == extra
