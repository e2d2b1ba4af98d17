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

from sqlalchemy import Connection, Select

from ._deletions import (
    Claim,
    Deletion,
    Parameters,
    Rows,
    Target,
    check_deleted,
    delete_each,
    delete_joined,
)
from ._dialects import Strategy
from ._returning import delete_keys, delete_places


def build_claim(target: Target, first: Select[Any], *, last: str | None) -> Claim:
    """Build the statements that claim and delete what a query finds.

    :param first: Finds the first signals, up to a limit.
    :param last: The name of the bound after which nothing is claimed, if any.
    """
    strategy = target.traits.strategy
    if strategy is Strategy.LOCK_AND_DELETE_JOINED and not target.facts.has_primary_key:
        # Without the primary key, the joined deletion may scan the table.
        strategy = Strategy.LOCK_AND_DELETE_EACH

    return _BUILDERS[strategy](target, first, last)


def _lock_and_delete_joined(
    target: Target, first: Select[Any], last: str | None
) -> Claim:
    """Lock the rows, then delete them by a join that scans nothing (MySQL, MariaDB).

    ::

        SELECT message.id AS id, message.text AS text
        FROM message FORCE INDEX (PRIMARY)
        WHERE message.id > :after_0 AND message.id <= :last_0
        ORDER BY message.id LIMIT :limit
        FOR UPDATE SKIP LOCKED

        DELETE gone
        FROM JSON_TABLE(:keys, '$[*]' COLUMNS (key0 BIGINT PATH '$[0]')) AS claimed
        STRAIGHT_JOIN message AS gone FORCE INDEX (PRIMARY) ON gone.id = claimed.key0

    For ``IN`` and a list of keys, MySQL and MariaDB may scan a table that seems to hold
    few other rows, with or without ORDER BY, and then wait for rows that other flushers
    hold; those might wait for ours (error 1213). Joined, each key is looked up. Keys
    that are no integers are listed, and found by a scan that skips locked rows.
    """
    locked = target.up_to(first, last).with_for_update(skip_locked=True)
    return _lock_and_delete(target, locked, delete_joined(target))


def _lock_and_delete_each(
    target: Target, first: Select[Any], last: str | None
) -> Claim:
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
    locked = target.up_to(first, last).with_for_update(
        skip_locked=target.traits.skips_locked_rows
    )
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


_BUILDERS: dict[Strategy, Callable[[Target, Select[Any], str | None], Claim]] = {
    Strategy.DELETE_PLACES: delete_places,
    Strategy.DELETE_KEYS: delete_keys,
    Strategy.LOCK_AND_DELETE_JOINED: _lock_and_delete_joined,
    Strategy.LOCK_AND_DELETE_EACH: _lock_and_delete_each,
}
