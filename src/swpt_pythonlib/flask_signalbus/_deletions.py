"""Delete rows by their primary keys, so that nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Row,
    Select,
    TextClause,
    bindparam,
    delete,
    text,
    tuple_,
)

from ._catalogues import PRIMARY, as_text, quoted
from ._dialects import Traits, traits_of
from ._keys import KeyOrder
from ._models import SignalTable
from ._reflection import TableFacts

Rows = Sequence[Row[Any]]
Parameters = dict[str, Any]
#: Claims and deletes the signals that the parameters ask for.
Claim = Callable[[Connection, Parameters], Rows]
#: Deletes rows by their keys, and counts what it has deleted.
Deletion = Callable[[Connection, Rows], int]

# MySQL stops planning a list of keys as ranges when the list outgrows
# 'range_optimizer_max_mem_size', at about 36 000 keys.
_KEYS_PER_DELETE = 1000


@dataclass(frozen=True, eq=False)
class Target:
    """What the statements of a strategy are about.

    :param signals: The table of the signals.
    :param order: How the database compares the primary key.
    :param dialect: The database.
    :param facts: What the database knows of the table.
    """

    signals: SignalTable
    order: KeyOrder
    dialect: Dialect
    facts: TableFacts

    @property
    def traits(self) -> Traits:
        """What the database does differently."""
        return traits_of(self.dialect)

    @property
    def index_hint(self) -> str | None:
        """How to tell the database to use the index of the key."""
        hint, index = self.traits.index_hint, self.facts.index
        if hint is None or index is None:
            return None

        # It becomes a part of the statement as it is.
        quote = self.dialect.identifier_preparer.quote
        return hint.format(index if index == PRIMARY else quote(index))

    def up_to(self, first: Select[Any], last: str | None) -> Select[Any]:
        """Have a query find nothing after the bound that has this name, if any."""
        return first if last is None else first.where(self.order.is_up_to(last))

    @property
    def key(self) -> ColumnElement[Any]:
        """The primary key as one expression."""
        key = self.signals.key
        return key[0] if len(key) == 1 else tuple_(*key)


def delete_each(target: Target) -> Deletion:
    """Return a deletion of one row after the other."""
    signals, order = target.signals, target.order
    deletion = delete(signals.table).where(order.equals("only"))

    def delete_rows(connection: Connection, rows: Rows) -> int:
        keys = (order.parameters("only", signals.key_of(row)) for row in rows)
        return sum(connection.execute(deletion, key).rowcount for key in keys)

    return delete_rows


def delete_joined(target: Target) -> Deletion:
    """Return a deletion by a join, a thousand rows at a time."""
    delete_one = delete_each(target)
    is_composite = len(target.signals.key) > 1
    delete_chunk = _delete_tuples(target) if is_composite else _delete_values(target)

    def delete_rows(connection: Connection, rows: Rows) -> int:
        starts = range(0, len(rows), _KEYS_PER_DELETE)
        chunks = (rows[i : i + _KEYS_PER_DELETE] for i in starts)
        return sum(
            (delete_chunk if len(chunk) > 1 else delete_one)(connection, chunk)
            for chunk in chunks
        )

    return delete_rows


def check_deleted(signals: SignalTable, deleted: int, *, claimed: int) -> None:
    if deleted != claimed:
        raise RuntimeError(
            f"Only {deleted} of {claimed} claimed signals of '{signals.name}' could be"
            f" deleted by their primary key; nothing of the burst has been sent. The"
            f" key must be of an exact type, and no trigger may suppress the deletion."
        )


def _delete_values(target: Target) -> Deletion:
    """Delete by a list of keys."""
    (column,), (position,) = target.signals.key, target.signals.key_positions
    keys = bindparam("keys", expanding=True, type_=column.type)
    condition = f"{quote(target, column.name)} IN :keys"

    @cache
    def deletion_in(schema: str | None) -> TextClause:
        return _joined_deletion(target, schema, condition).bindparams(keys)

    def delete_values(connection: Connection, rows: Rows) -> int:
        parameters = {"keys": [row[position] for row in rows], "limit": len(rows)}
        deletion = deletion_in(connection.schema_for_object(target.signals.table))
        return connection.execute(deletion, parameters).rowcount

    return delete_values


def _delete_tuples(target: Target) -> Deletion:
    """Delete by composite keys, each of which is spelled out.

    For a list of tuples MariaDB may scan the whole index.
    """
    signals, order = target.signals, target.order
    names = [quote(target, column.name) for column in signals.key]

    @cache
    def deletion_of(schema: str | None, count: int) -> TextClause:
        condition = " OR ".join(
            " AND ".join(f"{name} = :key{n}_{i}" for i, name in enumerate(names))
            for n in range(count)
        )
        binds = (
            bindparam(f"key{n}_{i}", type_=column.type)
            for n in range(count)
            for i, column in enumerate(signals.key)
        )
        return _joined_deletion(target, schema, condition).bindparams(*binds)

    def delete_tuples(connection: Connection, rows: Rows) -> int:
        # Repeating a key does no harm, and makes for few different statements.
        count = 1 << (len(rows) - 1).bit_length()
        parameters: Parameters = {"limit": len(rows)}
        for n in range(count):
            key = signals.key_of(rows[min(n, len(rows) - 1)])
            parameters |= order.parameters(f"key{n}", key)

        deletion = deletion_of(
            connection.schema_for_object(target.signals.table), count
        )
        return connection.execute(deletion, parameters).rowcount

    return delete_tuples


def _joined_deletion(target: Target, schema: str | None, condition: str) -> TextClause:
    """Return the deletion of the keys that meet a condition."""
    # SQLAlchemy has no STRAIGHT_JOIN, so this DELETE is a text.
    names = [quote(target, column.name) for column in target.signals.key]
    table = quote(target, schema, target.signals.table.name)
    matches = " AND ".join(f"gone.{name} = claimed.{name}" for name in names)
    return text(
        f"DELETE gone FROM (SELECT {', '.join(names)} FROM {table} {target.index_hint}"
        f" WHERE {condition} LIMIT :limit FOR UPDATE SKIP LOCKED) AS claimed"
        f" STRAIGHT_JOIN {table} AS gone ON {matches}"
    )


def quote(target: Target, *names: str | None) -> str:
    """Return an identifier as a part of a text, which doubles each '%' itself."""
    return as_text(quoted(target.dialect, *names))
