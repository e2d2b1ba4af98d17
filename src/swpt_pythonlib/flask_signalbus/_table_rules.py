"""What can be wrong with the table of a signal model, as its class declares it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator, TypeEngine

from ._models import attributes_of, is_signal_model, moment_of
from ._rules import Candidate, Fault, rule

#: Names that SQLAlchemy's ``Row`` defines; a column so named would be shadowed.
RESERVED_NAMES = frozenset(dir(sa.Row)) - {"count", "index"}


@rule(why="a signal is found, and deleted, by the key of one table")
def has_own_table_and_primary_key(candidate: Candidate) -> Fault | None:
    """Check that the model has exactly one table, and a primary key on it."""
    mapper = sa.inspect(candidate.model, raiseerr=False)
    if mapper is None:
        return Fault(
            found="the class is not mapped to a table",
            expected="a model with '__tablename__'",
            hint="an abstract class is no signal model; check its subclasses",
        )
    if not isinstance(mapper.persist_selectable, sa.Table):
        return _several_tables(candidate)
    if not mapper.local_table.primary_key.columns:
        return Fault(
            found=f"the table '{mapper.local_table}' has no primary key",
            expected="a primary key, by which signals are told apart",
        )

    return None


def _several_tables(candidate: Candidate) -> Fault:
    tables = ", ".join(str(table) for table in candidate.mapper.tables)
    return Fault(
        found=f"the model is mapped to {tables}",
        expected="exactly one table",
        hint="joined-table inheritance is not supported; let it be a table of its own",
        refusal=(
            f"The signal model '{candidate.name}' must be mapped to exactly one table,"
            f" not to a join or a query; joined-table inheritance is not supported."
        ),
    )


@rule(
    why="the send method would read something else than the column",
    needs=(has_own_table_and_primary_key,),
)
def column_names_are_readable(candidate: Candidate) -> Fault | None:
    """Check that no attribute is hidden by a name that rows define themselves."""
    names = attributes_of(candidate.mapper).values()
    hidden = [name for name in names if name in RESERVED_NAMES]
    if not hidden:
        return None

    return Fault(
        found=f"rows have something of their own named {', '.join(sorted(hidden))}",
        expected="another attribute name",
        hint="the column may keep its name: title = db.Column('t', …)",
        refusal=(
            f"The attribute '{hidden[0]}' of the signal model '{candidate.name}' is"
            f" hidden by a method of rows. Map the column to another name."
        ),
    )


@rule(
    why="a refused deletion keeps the signal pending forever",
    needs=(has_own_table_and_primary_key,),
)
def no_foreign_key_blocks_deletion(candidate: Candidate) -> Fault | None:
    """Check that no foreign key forbids deleting the signals."""
    table = candidate.mapper.local_table
    assert isinstance(table, sa.Table)
    blocking = [
        str(key.parent)
        for other in table.metadata.tables.values()
        for key in other.foreign_keys
        if _refers_to(key, table) and not _gives_way(key)
    ]
    if not blocking:
        return None

    return Fault(
        found=f"foreign keys to the model's table: {', '.join(blocking)}",
        expected="ON DELETE CASCADE, SET NULL or SET DEFAULT",
        hint="signals are deleted by a plain DELETE; the ORM's cascades do not run",
    )


@rule(
    why="they would be lost, and without an error on some databases",
    needs=(has_own_table_and_primary_key,),
)
def deletion_takes_no_other_signals(candidate: Candidate) -> Fault | None:
    """Check that no foreign key deletes other signals along with a signal."""
    cascading = _cascading_keys(candidate.mapper)
    if not cascading:
        return None

    return Fault(
        found=f"ON DELETE CASCADE from other signals: {', '.join(cascading)}",
        expected="ON DELETE SET NULL or SET DEFAULT, or no foreign key",
        refusal=(
            f"Deleting a signal of '{candidate.name}' would delete others that have"
            f" not been sent, by the foreign key '{cascading[0]}'. Use another"
            f" 'ondelete' than CASCADE."
        ),
    )


@rule(
    why="a key that differs after a round trip does not find its row",
    needs=(has_own_table_and_primary_key,),
)
def primary_key_type_is_exact(candidate: Candidate) -> Fault | None:
    """Check that no column of the primary key is a binary fraction."""
    key = candidate.mapper.primary_key
    inexact = [column.name for column in key if _is_inexact(column)]
    if not inexact:
        return None

    return Fault(
        found=f"the primary key has inexact columns: {', '.join(inexact)}",
        expected="integers, texts, dates, identifiers, or exact decimals",
    )


@rule(
    why="'flask signalbus pending --oldest' would raise an error",
    needs=(has_own_table_and_primary_key,),
    since="1.1",
)
def created_at_is_a_moment(candidate: Candidate) -> Fault | None:
    """Check that ``signalbus_created_at`` names a column of dates with times."""
    name = moment_of(candidate.model)
    types = {n: c.type for c, n in attributes_of(candidate.mapper).items()}
    if name is None or (isinstance(name, str) and _is_moment(types.get(name))):
        return None

    return Fault(
        found=f"'signalbus_created_at' is {name!r}",
        expected="the name of an attribute that is mapped to a 'DateTime' column",
    )


def _cascading_keys(mapper: Mapper[Any]) -> list[str]:
    """Return the foreign keys by which deleting a signal deletes other signals."""
    others = (o for o in mapper.registry.mappers if is_signal_model(o.class_))
    tables = dict.fromkeys(other.local_table for other in others)
    return [
        str(key.parent)
        for table in tables
        for key in table.foreign_keys
        if _refers_to(key, mapper.local_table) and _on_delete(key) == "CASCADE"
    ]


def _refers_to(key: sa.ForeignKey, table: sa.FromClause) -> bool:
    # Not 'key.column', which fails when some other key leads nowhere.
    return key.target_fullname.rpartition(".")[0] == getattr(table, "fullname", None)


def _gives_way(key: sa.ForeignKey) -> bool:
    return _on_delete(key) in {"CASCADE", "SET NULL", "SET DEFAULT"}


def _on_delete(key: sa.ForeignKey) -> str:
    return (key.ondelete or "").upper()


def _is_moment(column_type: TypeEngine[Any] | None) -> bool:
    return isinstance(_plain(column_type), sa.DateTime)


def _is_inexact(column: sa.ColumnElement[Any]) -> bool:
    column_type = _plain(column.type)
    is_fraction = isinstance(column_type, sa.Float)
    return is_fraction or getattr(column_type, "asdecimal", True) is False


def _plain(column_type: TypeEngine[Any] | None) -> TypeEngine[Any] | None:
    """Return the type that a type of the application's own is made of."""
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance

    return column_type
