"""Fixtures: what blocks have committed and how they end, a shop, and arenas."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import orm

from support.arenas import Arena, MakeArena, Provocation, set_journal
from support.extensions import AtomicSQLAlchemy
from support.models import Account, db
from support.own_models import OwnModel, model_of
from support.rivals import Rival
from support.signatures import AppFactory, Stored


@pytest.fixture
def stored(app: Flask) -> Stored:
    """Return what reads the committed accounts and their values."""

    def stored() -> dict[int, int]:
        rows = sa.select(Account.id, Account.value).order_by(Account.id)
        with db.engine.connect() as connection:
            return {row.id: row.value for row in connection.execute(rows)}

    return stored


@pytest.fixture
def ends(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of 'db.session.commit()' and 'db.session.rollback()'."""
    counter: Counter[str] = Counter()

    def counted(name: str) -> Callable[[], None]:
        original = getattr(db.session, name)

        def end() -> None:
            counter[name] += 1
            original()

        return end

    for name in ("commit", "rollback"):
        monkeypatch.setattr(db.session, name, counted(name))
    return counter


@pytest.fixture
def shop() -> AtomicSQLAlchemy:
    """Return a database whose rows get values from the database."""

    class Base(orm.DeclarativeBase):
        pass

    return AtomicSQLAlchemy(model_class=Base)


@pytest.fixture
def order_class(
    shop: AtomicSQLAlchemy, tables: str, request: pytest.FixtureRequest
) -> Iterator[Any]:

    @model_of(shop)
    class PurchaseOrder(OwnModel):
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        pieces: orm.Mapped[int]
        state: orm.Mapped[str] = orm.mapped_column(sa.String(9), server_default="new")
        price: orm.Mapped[int] = orm.mapped_column(
            server_default="7", onupdate=sa.text("8")
        )
        secret: orm.Mapped[str] = orm.mapped_column(
            sa.String(9), server_default="s", deferred=True
        )

    model: Any = PurchaseOrder
    model.total = orm.column_property(PurchaseOrder.pieces * PurchaseOrder.price)
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = tables
    shop.init_app(app)
    with app.app_context():
        shop.create_all()
        yield PurchaseOrder
        shop.session.remove()
        shop.drop_all()
        shop.engine.dispose()


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
