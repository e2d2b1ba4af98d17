"""Signals that are claimed, deleted and returned by one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Delete,
    Select,
    any_,
    case,
    delete,
    func,
    literal_column,
    select,
    true,
    tuple_,
)

from ._deletions import Claim, Parameters, Rows, Target, check_deleted


def delete_places(target: Target, first: Select[Any], last: str | None) -> Claim:
    """Claim and delete in one statement, by the places of the rows (PostgreSQL).

    ::

        DELETE FROM ONLY message
        WHERE message.ctid = ANY (array((
          SELECT CASE WHEN (message.id <= CAST(:last_0 AS BIGINT)) THEN message.ctid END
            AS _place
          FROM ONLY message
          WHERE message.id > (SELECT CAST(:after_0 AS BIGINT) AS bound)
          ORDER BY message.id
          LIMIT (SELECT CAST(:limit AS BIGINT) AS bound)
          FOR UPDATE SKIP LOCKED
        )))
        RETURNING message.id AS id, message.text AS text

    If rows were looked for between two bounds, PostgreSQL would expect few, and rather
    sort the whole backlog than walk the index of the key.
    """
    facts = target.facts
    if not facts.is_alone or facts.is_underestimated or target.signals.identity_filter:
        first = _raise_expectations(first)
    locked = first.with_for_update(skip_locked=True)
    claim = claim_all = _claim_in_tree(target, locked, last)
    if facts.is_alone:
        claim = _claim_alone(target, locked, last)

    # The table may have been given partitions or children in the meantime.
    return _noticing_leftovers(target, claim, claim_all, target.up_to(locked, last))


def _raise_expectations(first: Select[Any]) -> Select[Any]:
    """Join one row, which the planner of PostgreSQL takes for ten.

    If it expects at most a single row, it does not mind sorting all that it finds.
    """
    one = select(literal_column("ARRAY[1]")).scalar_subquery()
    return first.join(func.unnest(one).alias("_one"), true())


def _claim_alone(target: Target, locked: Select[Any], last: str | None) -> Claim:
    """Claim rows of the table itself, where a place is that of one row."""
    table, place = target.signals.table, _system_column(target, "ctid")
    found = locked.with_hint(table, "ONLY").correlate(None)
    places = found.with_only_columns(_place_up_to(target, last))
    deletion = delete(table).with_hint("ONLY").where(place == _any(places))
    return _in_order(target, deletion)


def _claim_in_tree(target: Target, locked: Select[Any], last: str | None) -> Claim:
    """Claim rows of the table, its partitions and its children.

    ::

        WITH _claimed AS (
          SELECT message.tableoid AS _part, … AS _place
          FROM message …
        )
        DELETE FROM message
        WHERE message.ctid = ANY (array((SELECT _claimed._place FROM _claimed)))
          AND ((message.tableoid, message.ctid) IN (
            SELECT _claimed._part, _claimed._place FROM _claimed
          )) IS true
        RETURNING message.id AS id, message.text AS text
    """
    part, place = _system_column(target, "tableoid"), _system_column(target, "ctid")
    columns = part.label("_part"), _place_up_to(target, last)
    claimed = locked.with_only_columns(*columns).cte("_claimed")
    rows = select(claimed.c._part, claimed.c._place)
    # As the operand of IS TRUE, the list is hashed, and not joined.
    is_claimed = tuple_(part, place).in_(rows).is_(true())
    is_at_place = place == _any(select(claimed.c._place))
    deletion = delete(target.signals.table).where(is_at_place, is_claimed)
    return _in_order(target, deletion)


def _system_column(target: Target, name: str) -> ColumnClause[Any]:
    column: ColumnClause[Any] = ColumnClause(name)
    column.table = target.signals.table
    return column


def _place_up_to(target: Target, last: str | None) -> ColumnElement[Any]:
    """Return the place of a row, or nothing if its key comes after the last one."""
    place: ColumnElement[Any] = _system_column(target, "ctid")
    if last is not None:
        place = case((target.order.is_up_to(last), place))

    return place.label("_place")


def _any(places: Select[Any]) -> ColumnElement[Any]:
    # An array is made once; PostgreSQL may execute a subquery again for each row.
    return any_(func.array(places.scalar_subquery()))


def _in_order(target: Target, deletion: Delete) -> Claim:
    """Put what is deleted in the order of the key: RETURNING has none."""
    if target.order.is_pythons:
        return _sorted(target, deletion)

    signals = target.signals
    gone = deletion.returning(*signals.columns).cte("_gone")
    key = (gone.c[signals.columns[i].name] for i in signals.key_positions)
    statement = select(gone).order_by(*key)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        return connection.execute(statement, parameters).all()

    return claim


def _sorted(target: Target, deletion: Delete) -> Claim:
    signals = target.signals
    statement = deletion.returning(*signals.columns)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(statement, parameters).all()
        return target.order.sort(connection, rows, signals.key_positions)

    return claim


def delete_keys(target: Target, first: Select[Any], last: str | None) -> Claim:
    """Claim and delete in one statement, which takes the write lock first (SQLite).

    ::

        DELETE FROM message
        WHERE message.id IN (
          SELECT message.id FROM message
          WHERE message.id > :after_0 AND message.id <= :last_0
          ORDER BY message.id LIMIT :limit OFFSET :param_1
        )
        RETURNING id AS id, text AS text
    """
    found = target.up_to(first, last)
    keys = found.with_only_columns(*target.signals.key).correlate(None)
    deletion = delete(target.signals.table).where(target.key.in_(keys))
    claim = _sorted(target, deletion)
    return _noticing_leftovers(target, claim, claim, found)


def _noticing_leftovers(
    target: Target, claim: Claim, claim_all: Claim, found: Select[Any]
) -> Claim:
    """Have a claim in one statement tell its end from a deletion that was suppressed.

    :param claim_all: Claims also what ``claim`` may not see.
    :param found: Finds what could be claimed.
    """
    signals = target.signals
    find = found.with_only_columns(*signals.key)

    def claim_noticing(connection: Connection, parameters: Parameters) -> Rows:
        rows = claim(connection, parameters)
        missing = parameters["limit"] - len(rows)
        if not (missing and connection.execute(find, {**parameters, "limit": 1}).all()):
            return rows

        # It has been committed at this moment, or it cannot be deleted.
        more = claim_all(connection, {**parameters, "limit": missing})
        check_deleted(signals, len(more), claimed=max(1, len(more)))
        # Python cannot tell the order of what any database compares.
        return [*rows, *more]

    return claim_noticing
