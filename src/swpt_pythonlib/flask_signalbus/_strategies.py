"""How the signals of a burst are claimed and deleted: four strategies, and their SQL.

Every strategy is given the query for the first signals of a range of keys, and builds
the statements that delete what it finds. The docstrings show those statements for
a table ``message`` with the columns ``id`` and ``text``, in the middle of a pass; those
for composite keys, for the first burst of a pass and for a single signal are listed
in ``docs/_generated/statements.rst``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Select,
    any_,
    delete,
    func,
    literal_column,
    select,
    true,
)

from ._deletions import (
    Deletion,
    Parameters,
    Rows,
    Target,
    check_deleted,
    delete_each,
    delete_joined,
)
from ._dialects import Strategy

#: Claims and deletes the signals that the parameters ask for.
Claim = Callable[[Connection, Parameters], Rows]


def build_claim(target: Target, first: Select[Any]) -> Claim:
    """Build the statements that claim and delete what a query finds.

    :param first: Finds the first signals of a range of keys, up to a limit.
    """
    strategy = target.traits.strategy
    if strategy is Strategy.LOCK_AND_DELETE_JOINED and not target.facts.has_primary_key:
        # Without the primary key, the joined deletion may scan the table.
        strategy = Strategy.LOCK_AND_DELETE_EACH

    return _BUILDERS[strategy](target, first)


def _delete_places(target: Target, first: Select[Any]) -> Claim:
    """Claim and delete in one statement, by the places of the rows (PostgreSQL).

    ::

        WITH _claimed AS (
          SELECT message.ctid AS _place, message.id AS id
          FROM message JOIN unnest((SELECT ARRAY[1])) AS _one ON true
          WHERE message.id > (SELECT CAST(:after_0 AS BIGINT) AS bound)
            AND message.id <= (SELECT CAST(:last_0 AS BIGINT) AS bound)
          ORDER BY message.id
          LIMIT (SELECT CAST(:limit AS BIGINT) AS bound)
          FOR UPDATE SKIP LOCKED
        ),
        _gone AS (
          DELETE FROM message
          WHERE message.ctid = ANY (array((SELECT _claimed._place FROM _claimed)))
            AND (message.id IN (SELECT _claimed.id FROM _claimed)) IS true
          RETURNING message.id AS id, message.text AS text
        )
        SELECT _gone.id, _gone.text FROM _gone ORDER BY _gone.id
    """
    signals = target.signals
    place: ColumnClause[Any] = ColumnClause("ctid")
    place.table = signals.table
    locked = _keep_planner_from_sorting(first).with_for_update(skip_locked=True)
    claimed = locked.with_only_columns(place.label("_place"), *signals.key).cte(
        "_claimed"
    )
    place_claimed, *key_claimed = claimed.c
    places = select(place_claimed).scalar_subquery()
    # The key tells the rows from others at the same place of other partitions. As the
    # operand of IS TRUE, the list is hashed, and not joined.
    is_claimed = target.key.in_(select(*key_claimed)).is_(true())
    condition = place == any_(func.array(places))
    deletion = delete(signals.table).where(condition, is_claimed)
    gone = deletion.returning(*signals.columns).cte("_gone")
    # RETURNING has no order.
    in_order = (gone.c[signals.columns[i].name] for i in signals.key_positions)
    statement = select(gone).order_by(*in_order)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        return connection.execute(statement, parameters).all()

    find = locked.with_only_columns(*signals.key)
    return _detecting_suppressed_deletes(target, claim, find)


def _keep_planner_from_sorting(first: Select[Any]) -> Select[Any]:
    """Join one row, which the planner of PostgreSQL takes for ten.

    If it expects at most a single row, it does not mind sorting all that it finds.
    """
    one = select(literal_column("ARRAY[1]")).scalar_subquery()
    return first.join(func.unnest(one).alias("_one"), true())


def _delete_keys(target: Target, first: Select[Any]) -> Claim:
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
    signals = target.signals
    keys = first.with_only_columns(*signals.key).correlate(None)
    deletion = delete(signals.table).where(target.key.in_(keys))
    statement = deletion.returning(*signals.columns)

    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(statement, parameters).all()
        # RETURNING has no order.
        return target.order.sort(connection, rows, signals.key_positions)

    find = first.with_only_columns(*signals.key)
    return _detecting_suppressed_deletes(target, claim, find)


def _detecting_suppressed_deletes(
    target: Target, claim: Claim, find: Select[Any]
) -> Claim:
    """Have a claim in one statement tell its end from a deletion that was suppressed.

    :param find: Finds what could be claimed.
    """
    signals = target.signals

    def claim_all(connection: Connection, parameters: Parameters) -> Rows:
        rows = claim(connection, parameters)
        missing = parameters["limit"] - len(rows)
        if not (missing and connection.execute(find, {**parameters, "limit": 1}).all()):
            return rows

        # It has been committed at this moment, or it cannot be deleted.
        more = claim(connection, {**parameters, "limit": missing})
        check_deleted(signals, len(more), claimed=max(1, len(more)))
        # Python cannot tell the order of what any database compares.
        return [*rows, *more]

    return claim_all


def _lock_and_delete_joined(target: Target, first: Select[Any]) -> Claim:
    """Lock the rows, then delete them by a join that scans nothing (MySQL, MariaDB).

    ::

        SELECT message.id AS id, message.text AS text
        FROM message FORCE INDEX (PRIMARY)
        WHERE message.id > :after_0 AND message.id <= :last_0
        ORDER BY message.id LIMIT :limit
        FOR UPDATE SKIP LOCKED

        DELETE gone
        FROM (
          SELECT id FROM message FORCE INDEX (PRIMARY)
          WHERE id IN (:keys) LIMIT :limit FOR UPDATE SKIP LOCKED
        ) AS claimed
        STRAIGHT_JOIN message AS gone ON gone.id = claimed.id

    For a list of keys, MySQL and MariaDB may scan a table that seems to hold few other
    rows, with or without ORDER BY, and then wait for rows that other flushers hold;
    those might wait for ours (error 1213). A scan that skips locked rows waits for
    nobody. What it finds is then looked up by the key, one row after the other.
    """
    locked = first.with_for_update(skip_locked=True)
    return _lock_and_delete(target, locked, delete_joined(target))


def _lock_and_delete_each(target: Target, first: Select[Any]) -> Claim:
    """Lock the rows, then delete them one by one (any other database).

    ::

        SELECT message.id AS id, message.text AS text
        FROM message
        WHERE message.id > :after_0 AND message.id <= :last_0
        ORDER BY message.id
        LIMIT :limit
        FOR UPDATE

        DELETE FROM message WHERE message.id = :only_0
    """
    locked = first.with_for_update(skip_locked=target.traits.skips_locked_rows)
    return _lock_and_delete(target, locked, delete_each(target))


def _lock_and_delete(
    target: Target, locked: Select[Any], delete_rows: Deletion
) -> Claim:
    def claim(connection: Connection, parameters: Parameters) -> Rows:
        rows = connection.execute(locked, parameters).all()
        deleted = delete_rows(connection, rows)
        check_deleted(target.signals, deleted, claimed=len(rows))
        return rows

    return claim


_BUILDERS: dict[Strategy, Callable[[Target, Select[Any]], Claim]] = {
    Strategy.DELETE_PLACES: _delete_places,
    Strategy.DELETE_KEYS: _delete_keys,
    Strategy.LOCK_AND_DELETE_JOINED: _lock_and_delete_joined,
    Strategy.LOCK_AND_DELETE_EACH: _lock_and_delete_each,
}
