"""Signal models that are broken, or that make a broken bus show."""

from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import LEFT_OUT, publish, signal_model

Model = type[Any]


class Wrapped(sa.types.TypeDecorator[float]):
    impl = sa.Float
    cache_ok = True


def cascading_column() -> sa.Column[Any]:
    return sa.Column(sa.ForeignKey("signal.id", ondelete="CASCADE"))


def without_a_table(db: SQLAlchemy) -> Model:
    return signal_model(
        db, __abstract__=True, __tablename__=LEFT_OUT, id=LEFT_OUT, text=LEFT_OUT
    )


def in_two_tables(db: SQLAlchemy) -> Model:
    parent = signal_model(
        db,
        kind=db.Column(db.String(10)),
        __mapper_args__={"polymorphic_on": "kind", "polymorphic_identity": "parent"},
    )
    return signal_model(
        db,
        parent,
        name="ChildSignal",
        id=db.Column(db.ForeignKey("signal.id", ondelete="CASCADE"), primary_key=True),
        text=LEFT_OUT,
        __mapper_args__={"polymorphic_identity": "child"},
    )


def without_a_primary_key(db: SQLAlchemy) -> Model:
    table = sa.Table(
        "signal", db.metadata, sa.Column("id", sa.Integer), sa.Column("text", sa.Text)
    )
    return signal_model(
        db,
        __tablename__=LEFT_OUT,
        id=LEFT_OUT,
        text=LEFT_OUT,
        __table__=table,
        __mapper_args__={"primary_key": [table.c.id]},
    )


def below_another_base(db: SQLAlchemy) -> Model:
    base = type("Base", (db.Model,), {"__abstract__": True, "__module__": __name__})
    return signal_model(db, base)


def with_a_blocking_reference(db: SQLAlchemy) -> Model:
    sa.Table(
        "reference",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("signal_id", sa.ForeignKey("signal.id")),
    )
    return signal_model(db)


def with_a_careless_key(db: SQLAlchemy) -> Model:
    """Make a model whose key is changed by its type on the way out."""

    class Careless(sa.types.TypeDecorator[str]):
        impl = sa.String(50)
        cache_ok = True

        def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
            return value and value.replace(" ", "_")

    return signal_model(db, id=db.Column(Careless, primary_key=True))


def with_a_renamed_column(db: SQLAlchemy) -> Model:
    return signal_model(db, text=db.Column("body", db.String(50), nullable=False))


def with_a_neighbour(db: SQLAlchemy) -> Model:
    neighbour = signal_model(db, name="OtherSignal")
    # A registry refers to its models weakly.
    return signal_model(db, neighbour=neighbour)


def _altered(db: SQLAlchemy, *made: str, unmade: tuple[str, ...] = ()) -> Model:
    """Make a healthy model whose table is not what the model says."""
    # Nothing but the table itself would number its rows.
    model = signal_model(
        db,
        __tablename__="altered",
        id=db.Column(db.Integer, primary_key=True, autoincrement=False),
    )
    for name, statements in (("after_create", made), ("before_drop", unmade)):
        for statement in statements:
            sa.event.listen(model.__table__, name, sa.DDL(statement))  # type: ignore[no-untyped-call]
    return model


def behind_a_view(db: SQLAlchemy) -> Model:
    return _altered(
        db,
        "ALTER TABLE altered RENAME TO hidden",
        "CREATE VIEW altered AS SELECT DISTINCT id, text FROM hidden",
        unmade=("DROP VIEW altered", "ALTER TABLE hidden RENAME TO altered"),
    )


def without_a_key_in_the_database(db: SQLAlchemy) -> Model:
    return _altered(
        db,
        "CREATE TABLE bare AS SELECT id, text FROM altered",
        "DROP TABLE altered",
        "ALTER TABLE bare RENAME TO altered",
    )


def with_a_deferred_reference(db: SQLAlchemy) -> Model:
    return _altered(
        db,
        "CREATE TABLE reference (signal_id INTEGER,"
        " CONSTRAINT deferred FOREIGN KEY (signal_id) REFERENCES altered (id)"
        " DEFERRABLE INITIALLY DEFERRED)",
        unmade=("DROP TABLE reference",),
    )


def without_transactions(db: SQLAlchemy) -> Model:
    return _altered(db, "ALTER TABLE altered ENGINE=MyISAM")


def noting_elsewhere(db: SQLAlchemy) -> Model:
    """Make a model whose sender commits what it writes, and then is refused."""
    note = db.Table(
        "note",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String(50)),
        bind_key="elsewhere",
    )

    def send(cls: Model, signal: Any) -> None:
        publish(signal.text)
        with db.engines["elsewhere"].begin() as connection:
            connection.execute(sa.insert(note).values(text=signal.text))

    return signal_model(
        db,
        send_signalbus_message=classmethod(send),
        send_signalbus_messages=LEFT_OUT,
    )


def sending_on_insert(db: SQLAlchemy) -> Model:
    model = signal_model(db)

    @sa.event.listens_for(model, "after_insert")
    def send(mapper: Any, connection: Any, instance: Any) -> None:
        model.send_signalbus_message(instance)

    return model
