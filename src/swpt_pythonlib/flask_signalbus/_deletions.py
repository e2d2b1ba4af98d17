"""Delete rows by their primary keys, so that nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
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
    """Return a deletion by a join, which looks each key up and scans nothing."""
    delete_one = delete_each(target)
    types = target.order.integer_types
    delete_many = _delete_integers(target, types) if types else _delete_listed(target)

    def delete_rows(connection: Connection, rows: Rows) -> int:
        return (delete_many if len(rows) > 1 else delete_one)(connection, rows)

    return delete_rows


def check_deleted(signals: SignalTable, deleted: int, *, claimed: int) -> None:
    if deleted != claimed:
        raise RuntimeError(
            f"Only {deleted} of {claimed} claimed signals of '{signals.name}' could be"
            f" deleted by their primary key; nothing of the burst has been sent. The"
            f" key must be of an exact type, and no trigger may suppress the deletion."
        )


def _delete_integers(target: Target, types: Sequence[str]) -> Deletion:
    """Delete by a list of integer keys, which one parameter carries as JSON."""
    signals = target.signals
    names = [f"key{i}" for i in range(len(types))]
    columns = ", ".join(
        f"{name} {type_} PATH '$[{i}]'"
        for i, (name, type_) in enumerate(zip(names, types, strict=True))
    )
    claimed = f"JSON_TABLE(:keys, '$[*]' COLUMNS ({columns}))"

    @cache
    def deletion_in(schema: str | None) -> TextClause:
        return _joined_deletion(target, schema, claimed, names)

    def delete_integers(connection: Connection, rows: Rows) -> int:
        keys = json.dumps([signals.key_of(row) for row in rows])
        deletion = deletion_in(connection.schema_for_object(signals.table))
        return connection.execute(deletion, {"keys": keys}).rowcount

    return delete_integers


def _delete_listed(target: Target) -> Deletion:
    """Delete by a list of keys of any type, a thousand at a time."""
    is_composite = len(target.signals.key) > 1
    delete_chunk = _delete_tuples(target) if is_composite else _delete_values(target)

    def delete_listed(connection: Connection, rows: Rows) -> int:
        starts = range(0, len(rows), _KEYS_PER_DELETE)
        chunks = (rows[i : i + _KEYS_PER_DELETE] for i in starts)
        return sum(delete_chunk(connection, chunk) for chunk in chunks)

    return delete_listed


def _delete_values(target: Target) -> Deletion:
    """Delete by a list of keys."""
    (column,), (position,) = target.signals.key, target.signals.key_positions
    keys = bindparam("keys", expanding=True, type_=column.type)
    condition = f"{quote(target, column.name)} IN :keys"

    @cache
    def deletion_in(schema: str | None) -> TextClause:
        return _locked_deletion(target, schema, condition).bindparams(keys)

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
        return _locked_deletion(target, schema, condition).bindparams(*binds)

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


def _locked_deletion(target: Target, schema: str | None, condition: str) -> TextClause:
    """Return the deletion of the keys that meet a condition.

    To find them, the table may be scanned, which must not wait for other flushers.
    """
    names = [quote(target, column.name) for column in target.signals.key]
    table = quote(target, schema, target.signals.table.name)
    claimed = (
        f"(SELECT {', '.join(names)} FROM {table} {target.index_hint}"
        f" WHERE {condition} LIMIT :limit FOR UPDATE SKIP LOCKED)"
    )
    return _joined_deletion(target, schema, claimed, names)


def _joined_deletion(
    target: Target, schema: str | None, claimed: str, names: Iterable[str]
) -> TextClause:
    """Return the deletion of the keys that a table has in the columns of these names.

    Tables are joined in this order, and by the index of the key: what is not claimed
    may be locked by another flusher, which waits for its broker.
    """
    # SQLAlchemy has no STRAIGHT_JOIN, so this DELETE is a text.
    table = quote(target, schema, target.signals.table.name)
    matches = " AND ".join(
        f"gone.{quote(target, column.name)} = claimed.{name}"
        for column, name in zip(target.signals.key, names, strict=True)
    )
    return text(
        f"DELETE gone FROM {claimed} AS claimed"
        f" STRAIGHT_JOIN {table} AS gone {target.index_hint} ON {matches}"
    )


def quote(target: Target, *names: str | None) -> str:
    """Return an identifier as a part of a text, which doubles each '%' itself."""
    return as_text(quoted(target.dialect, *names))
