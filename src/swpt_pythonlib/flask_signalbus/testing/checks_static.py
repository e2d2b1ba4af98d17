"""Checks that look at a signal model without touching the database."""

from __future__ import annotations

import inspect
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from .._lazy import is_lazy
from .._models import RESERVED_NAMES, cascading_keys, refers_to, senders_of
from .failures import expect
from .harness import Harness
from .registry import check
from .rows import mapped_columns


@check("static", why="a row that lies in two tables is not gone when one of them is")
def check_has_own_table_and_primary_key(harness: Harness) -> None:
    """Check that the model has exactly one table, and that a primary key."""
    mapper = sa.inspect(harness.model, raiseerr=False)
    expect(
        mapper is not None,
        found="the class is not mapped to a table",
        expected="a model with '__tablename__'",
        hint="an abstract class is no signal model; check its subclasses",
    )
    tables = [str(table) for table in mapper.tables]
    expect(
        len(tables) == 1 and isinstance(mapper.persist_selectable, sa.Table),
        found=f"the model is mapped to {', '.join(tables)}",
        expected="exactly one table",
        hint="joined-table inheritance is not supported; let it be a table of its own",
    )
    expect(
        bool(mapper.local_table.primary_key.columns),
        found=f"the table '{mapper.local_table}' has no primary key",
        expected="a primary key, by which signals are told apart",
    )


@check("static", why="a model that the bus does not list is never flushed")
def check_is_discovered(harness: Harness) -> None:
    """Check that the signal bus lists the model."""
    models = harness.bus.get_signal_models()
    expect(
        harness.model in models,
        found="get_signal_models() does not list the model",
        expected="every mapped subclass of db.Model with 'send_signalbus_message'",
        hint="is it a subclass of this application's db.Model?",
    )


@check("static", why="the bus calls Model.send_signalbus_message(signal), no instance")
def check_send_method_is_classmethod(harness: Harness) -> None:
    """Check that the send methods are class methods with one argument."""
    for name, method in senders_of(harness.model).items():
        expect(
            isinstance(inspect.getattr_static(harness.model, name), classmethod),
            found=f"'{name}' is not a class method",
            expected=f"@classmethod def {name}(cls, …)",
        )
        expect(
            _takes_one_argument(method),
            found=f"'{name}' has the signature {inspect.signature(method)}",
            expected="exactly one positional argument",
        )


@check("static", why="its body never runs, and the rows are deleted all the same")
def check_send_method_is_not_lazy(harness: Harness) -> None:
    """Check that the send methods are neither coroutines nor generators."""
    for name, method in senders_of(harness.model).items():
        expect(
            not is_lazy(inspect.unwrap(method)),
            found=f"'{name}' is a coroutine or a generator",
            expected="a plain function, which has sent when it returns",
            hint="wrap it: asyncio.run(…), or list(…)",
        )


@check("static", why="a flush of the model would raise instead of sending")
def check_burst_count_is_positive_int(harness: Harness) -> None:
    """Check that the burst count is a positive integer."""
    burst = getattr(harness.model, "signalbus_burst_count", 1)
    expect(
        type(burst) is int and burst >= 1,
        found=f"'signalbus_burst_count' is {burst!r}",
        expected="an int, 1 or more",
    )


@check("static", why="the send method would read something else than the column")
def check_column_names_are_readable(harness: Harness) -> None:
    """Check that no attribute is hidden by a name that rows have themselves."""
    hidden = sorted(RESERVED_NAMES.intersection(mapped_columns(harness.mapper)))
    expect(
        not hidden,
        found=f"rows have something of their own named {', '.join(hidden)}",
        expected="another attribute name",
        hint="the column may keep its name: title = db.Column('t', …)",
    )


@check("static", why="a refused deletion keeps the signal pending for ever")
def check_no_foreign_key_blocks_deletion(harness: Harness) -> None:
    """Check that no foreign key forbids to delete the signals."""
    table = harness.mapper.persist_selectable
    assert isinstance(table, sa.Table)
    blocking = [
        str(key.parent)
        for other in table.metadata.tables.values()
        for key in other.foreign_keys
        if refers_to(key, table) and not _gives_way(key)
    ]
    expect(
        not blocking,
        found=f"foreign keys to the model's table: {', '.join(blocking)}",
        expected="ON DELETE CASCADE, SET NULL or SET DEFAULT",
        hint="signals are deleted by a plain DELETE; the ORM's cascades do not run",
    )


@check("static", why="they would be lost, and without an error on some databases")
def check_deletion_takes_no_other_signals(harness: Harness) -> None:
    """Check that no foreign key deletes other signals along with a signal."""
    cascading = cascading_keys(harness.model)
    expect(
        not cascading,
        found=f"ON DELETE CASCADE from other signals: {', '.join(cascading)}",
        expected="ON DELETE SET NULL or SET DEFAULT, or no foreign key",
    )


@check("static", why="a key that differs after a round trip does not find its row")
def check_primary_key_type_is_exact(harness: Harness) -> None:
    """Check that no column of the primary key is a binary fraction."""
    inexact = [
        column.name for column in harness.mapper.primary_key if _is_inexact(column)
    ]
    expect(
        not inexact,
        found=f"the primary key has inexact columns: {', '.join(inexact)}",
        expected="integers, texts, dates, identifiers, or exact decimals",
    )


def _takes_one_argument(method: Any) -> bool:
    try:
        inspect.signature(method).bind(object())
    except TypeError:
        return False

    return True


def _gives_way(key: sa.ForeignKey) -> bool:
    return (key.ondelete or "").upper() in {"CASCADE", "SET NULL", "SET DEFAULT"}


def _is_inexact(column: sa.ColumnElement[Any]) -> bool:
    column_type: TypeEngine[Any] = column.type
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance
    is_fraction = isinstance(column_type, sa.Float)
    return is_fraction or getattr(column_type, "asdecimal", True) is False
