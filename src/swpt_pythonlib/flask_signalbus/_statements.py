"""The statements that find, claim and delete pending signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Row,
    Select,
    TextClause,
    and_,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    true,
    tuple_,
)

from ._dialects import Strategy, traits_of
from ._keys import Key, KeyOrder
from ._models import SignalTable

Rows = Sequence[Row[Any]]
Parameters = dict[str, Any]
Execution = Callable[[Connection, Parameters], Rows]
#: Deletes rows by their keys, and counts what it has deleted.
Deletion = Callable[[Connection, Rows], int]

# MySQL stops planning a list of keys as ranges when the list outgrows
# 'range_optimizer_max_mem_size', at about 36 000 keys.
_KEYS_PER_DELETE = 1000


@dataclass(frozen=True)
class KeyRange:
    """The signals behind one key (or from the first on), up to another."""

    after: Key | None
    last: Key

    def rest_after(self, key: Key) -> KeyRange | None:
        """Return the rest of the span behind a key, if there is any."""
        return None if key == self.last else KeyRange(key, self.last)


@lru_cache(maxsize=256)
def statements_of(signals: SignalTable, dialect: Dialect) -> SignalStatements:
    """Return the statements for a signal table, which are built once.

    SQLAlchemy need not analyze a statement again that it is given again.
    """
    return SignalStatements(signals, dialect)


class SignalStatements:
    """The statements that find, claim and delete the signals of one model.

    :param signals: Where the signals lie.
    :param dialect: The database that executes the statements.
    """

    def __init__(self, signals: SignalTable, dialect: Dialect) -> None:
        self.signals = signals
        self.traits = traits_of(dialect)
        self.order = KeyOrder(signals.key, dialect)
        has_index = set(signals.key) == set(signals.table.primary_key)
        #: How to tell the database to use the index of the key.
        self.index_hint = self.traits.key_index if has_index else None
        self._dialect = dialect

    def newest_key(self, connection: Connection) -> Key | None:
        """Return the last key of all, or ``None`` if nothing is pending."""
        row = connection.execute(self._select_newest).first()
        return None if row is None else tuple(row)

    def peek(self, connection: Connection, span: KeyRange, limit: int) -> list[Key]:
        """Return the first keys of a span, also those that others hold."""
        first = self._select_first(self._within(has_start=span.after is not None))
        statement = first.with_only_columns(*self.signals.key)
        rows = connection.execute(statement, self._parameters(span, limit))
        return [tuple(row) for row in rows]

    def claim(self, connection: Connection, span: KeyRange, limit: int) -> Rows:
        """Delete the first signals of a span, except those that others hold.

        :return: What has been deleted, in the order of the primary key.
        :raises RuntimeError: If a claimed signal could not be deleted.
        """
        claim = self._claim_first if span.after is None else self._claim_next
        return claim(connection, self._parameters(span, limit))

    def claim_one(self, connection: Connection, key: Key) -> Rows:
        """Delete a signal, unless it is gone or somebody else holds it."""
        parameters = self.order.parameters("only", key)
        return self._claim_only(connection, {**parameters, "limit": 1})

    @cached_property
    def quoted_key(self) -> list[str]:
        """The names of the columns of the key, as parts of a text."""
        return [self.quote(column.name) for column in self.signals.key]

    def quote(self, name: str) -> str:
        """Return an identifier as a part of a text, in which a colon begins a bind."""
        # The dialect in use would double each '%', as the text does again.
        dialect_class: Any = type(self._dialect)
        quote = dialect_class(paramstyle="named").identifier_preparer.quote
        return str(quote(name)).replace(":", r"\:")

    def schema_on(self, connection: Connection) -> str | None:
        """Return the schema of the table; SQLAlchemy translates none in a text."""
        schema = self.signals.table.schema
        names = connection.get_execution_options().get("schema_translate_map") or {}
        return names.get(schema, schema)

    @cached_property
    def _select_newest(self) -> Select[Any]:
        newest_first = (column.desc() for column in self.signals.key)
        return self._select(*self.signals.key).order_by(*newest_first).limit(1)

    @cached_property
    def _claim_first(self) -> Execution:
        return self._build(self._within(has_start=False))

    @cached_property
    def _claim_next(self) -> Execution:
        return self._build(self._within(has_start=True))

    @cached_property
    def _claim_only(self) -> Execution:
        return self._build(self.order.equals("only"))

    def _build(self, condition: ColumnElement[bool]) -> Execution:
        return _STRATEGIES[self.traits.strategy](self, self._select_first(condition))

    def _select_first(self, condition: ColumnElement[bool]) -> Select[Any]:
        statement = self._select(*self.signals.columns).where(condition)
        if self.index_hint is not None:
            statement = statement.with_hint(self.signals.table, self.index_hint)
        limit = self.order.bind("limit", Integer())
        return statement.order_by(*self.signals.key).limit(limit)

    def _select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).where(*self.signals.identity_filter)

    def _within(self, *, has_start: bool) -> ColumnElement[bool]:
        is_up_to_last = self.order.is_up_to("last")
        if not has_start:
            return is_up_to_last

        return and_(self.order.is_after("after"), is_up_to_last)

    def _parameters(self, span: KeyRange, limit: int) -> Parameters:
        parameters = {"limit": limit, **self.order.parameters("last", span.last)}
        if span.after is not None:
            parameters |= self.order.parameters("after", span.after)

        return parameters


def _delete_places(claims: SignalStatements, first: Select[Any]) -> Execution:
    signals = claims.signals
    place: ColumnClause[Any] = ColumnClause("ctid")
    place.table = signals.table
    locked = _taken_for_ten(first).with_for_update(skip_locked=True)
    chosen = locked.with_only_columns(place.label(None), *signals.key).cte()
    chosen_place, *chosen_key = chosen.c
    places = select(chosen_place).scalar_subquery()
    # The key tells the rows from others at the same place of other partitions. As the
    # operand of IS TRUE, the list is hashed, and not joined.
    is_chosen = _key(signals).in_(select(*chosen_key)).is_(true())
    condition = and_(place == any_(func.array(places)), is_chosen)
    gone = delete(signals.table).where(condition).returning(*signals.columns).cte()
    # RETURNING has no order.
    in_order = (gone.c[signals.columns[i].name] for i in signals.key_positions)
    statement = select(gone).order_by(*in_order)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        return connection.execute(statement, parameters).all()

    return _leaving_nothing(claims, claim, locked.with_only_columns(*signals.key))


def _taken_for_ten(first: Select[Any]) -> Select[Any]:
    """Join one row, which PostgreSQL takes for ten.

    If it expects a single row at the most, it does not mind sorting all that it finds.
    """
    one = select(literal_column("ARRAY[1]")).scalar_subquery()
    return first.join(func.unnest(one).alias(), true())


def _delete_keys(claims: SignalStatements, first: Select[Any]) -> Execution:
    signals = claims.signals
    keys = first.with_only_columns(*signals.key).correlate(None)
    deletion = delete(signals.table).where(_key(signals).in_(keys))
    statement = deletion.returning(*signals.columns)
    rank = claims.order.rank(signals.key_positions)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(statement, parameters).all()
        # RETURNING has no order.
        return sorted(rows, key=rank)

    return _leaving_nothing(claims, claim, first.with_only_columns(*signals.key))


def _leaving_nothing(
    claims: SignalStatements, claim: Execution, find: Select[Any]
) -> Execution:
    """Have a claim in one statement tell its end from a deletion that was suppressed.

    :param find: Finds what could be claimed.
    """
    signals = claims.signals
    rank = claims.order.rank(signals.key_positions)

    def claim_all(connection: Connection, parameters: Parameters) -> Rows:
        rows = claim(connection, parameters)
        missing = parameters["limit"] - len(rows)
        if not (missing and connection.execute(find, {**parameters, "limit": 1}).all()):
            return rows

        # It has been committed in this moment, or it can't be deleted.
        more = claim(connection, {**parameters, "limit": missing})
        _check_deleted(signals, len(more), claimed=max(1, len(more)))
        return sorted([*rows, *more], key=rank)

    return claim_all


def _lock_and_delete_joined(claims: SignalStatements, first: Select[Any]) -> Execution:
    signals = claims.signals
    if claims.index_hint is None:
        return _lock_and_delete_each(claims, first)

    statement = first.with_for_update(skip_locked=True)
    is_composite = len(signals.key) > 1
    delete_each = _delete_each(claims)
    delete_chunk = _delete_tuples(claims) if is_composite else _delete_values(claims)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(statement, parameters).all()
        for i in range(0, len(rows), _KEYS_PER_DELETE):
            chunk = rows[i : i + _KEYS_PER_DELETE]
            delete_rows = delete_chunk if len(chunk) > 1 else delete_each
            deleted = delete_rows(connection, chunk)
            _check_deleted(signals, deleted, claimed=len(chunk))

        return rows

    return claim


def _lock_and_delete_each(claims: SignalStatements, first: Select[Any]) -> Execution:
    signals, delete_each = claims.signals, _delete_each(claims)
    statement = first.with_for_update(skip_locked=claims.traits.skips_locked_rows)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(statement, parameters).all()
        _check_deleted(signals, delete_each(connection, rows), claimed=len(rows))
        return rows

    return claim


def _delete_each(claims: SignalStatements) -> Deletion:
    """Delete one by one."""
    signals, order = claims.signals, claims.order
    deletion = delete(signals.table).where(order.equals("only"))

    def delete_each(connection: Connection, rows: Rows) -> int:
        keys = (order.parameters("only", signals.key_of(row)) for row in rows)
        return sum(connection.execute(deletion, key).rowcount for key in keys)

    return delete_each


def _delete_values(claims: SignalStatements) -> Deletion:
    """Delete by a list of keys."""
    (column,), (position,) = claims.signals.key, claims.signals.key_positions
    keys = bindparam("keys", expanding=True, type_=column.type)
    condition = f"{claims.quoted_key[0]} IN :keys"

    @cache
    def deletion_in(schema: str | None) -> TextClause:
        return _delete_joined(claims, schema, condition).bindparams(keys)

    def delete_values(connection: Connection, rows: Rows) -> int:
        parameters = {"keys": [row[position] for row in rows], "limit": len(rows)}
        deletion = deletion_in(claims.schema_on(connection))
        return connection.execute(deletion, parameters).rowcount

    return delete_values


def _delete_tuples(claims: SignalStatements) -> Deletion:
    """Delete by composite keys, each of which is spelled out.

    For a list of tuples MariaDB may scan the whole index.
    """
    signals, order = claims.signals, claims.order
    names = claims.quoted_key

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
        return _delete_joined(claims, schema, condition).bindparams(*binds)

    def delete_tuples(connection: Connection, rows: Rows) -> int:
        # Repeating a key does no harm, and makes for few different statements.
        count = 1 << (len(rows) - 1).bit_length()
        parameters: Parameters = {"limit": len(rows)}
        for n in range(count):
            key = signals.key_of(rows[min(n, len(rows) - 1)])
            parameters |= order.parameters(f"key{n}", key)

        deletion = deletion_of(claims.schema_on(connection), count)
        return connection.execute(deletion, parameters).rowcount

    return delete_tuples


def _delete_joined(
    claims: SignalStatements, schema: str | None, condition: str
) -> TextClause:
    """Return a deletion that touches no other rows than those it deletes.

    For a list of keys, MySQL and MariaDB may scan a table that seems to hold few other
    rows, with or without ORDER BY, and then wait for rows that other flushers hold;
    those might wait for ours (error 1213). A scan that passes over locked rows waits
    for nobody. What it finds is then looked up by the key, one row after the other.
    """
    # SQLAlchemy has no STRAIGHT_JOIN, so this DELETE is a text.
    names, name = claims.quoted_key, claims.signals.table.name
    table = ".".join(map(claims.quote, filter(None, (schema, name))))
    matches = " AND ".join(f"gone.{key} = claimed.{key}" for key in names)
    return text(
        f"DELETE gone FROM (SELECT {', '.join(names)} FROM {table} {claims.index_hint}"
        f" WHERE {condition} LIMIT :limit FOR UPDATE SKIP LOCKED) AS claimed"
        f" STRAIGHT_JOIN {table} AS gone ON {matches}"
    )


def _key(signals: SignalTable) -> ColumnElement[Any]:
    return signals.key[0] if len(signals.key) == 1 else tuple_(*signals.key)


def _check_deleted(signals: SignalTable, deleted: int, *, claimed: int) -> None:
    if deleted != claimed:
        raise RuntimeError(
            f"Only {deleted} of {claimed} claimed signals of '{signals.name}' could be"
            f" deleted by their primary key; nothing of the burst has been sent. The"
            f" key must be of an exact type, and no trigger may suppress the deletion."
        )


_STRATEGIES: dict[Strategy, Callable[[SignalStatements, Select[Any]], Execution]] = {
    Strategy.DELETE_PLACES: _delete_places,
    Strategy.DELETE_KEYS: _delete_keys,
    Strategy.LOCK_AND_DELETE_JOINED: _lock_and_delete_joined,
    Strategy.LOCK_AND_DELETE_EACH: _lock_and_delete_each,
}
