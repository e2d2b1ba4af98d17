"""The statements that find, claim and delete the pending signals of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Select,
    TextClause,
    select,
    text,
)

from ._catalogues import name_on
from ._deletions import Claim, Parameters, Rows, Target
from ._keys import Key, KeyOrder
from ._models import SignalTable
from ._reflection import TableFacts, facts_of
from ._strategies import build_claim


@dataclass(frozen=True)
class KeyRange:
    """The signals after one key (or from the start) up to and including another."""

    after: Key | None
    last: Key

    def rest_after(self, key: Key) -> KeyRange | None:
        """Return the rest of the range after a key, or ``None`` if nothing is left."""
        return None if key == self.last else KeyRange(key, self.last)


def statements_on(connection: Connection, signals: SignalTable) -> SignalStatements:
    """Return the statements for a signal table, as it is in the database.

    They are built once: SQLAlchemy need not analyze a statement again when it is given
    the same object.
    """
    facts = facts_of(signals, connection)
    return _statements_of(signals, connection.dialect, facts)


@lru_cache(maxsize=256)
def _statements_of(
    signals: SignalTable, dialect: Dialect, facts: TableFacts
) -> SignalStatements:
    return SignalStatements(signals, dialect, facts)


class SignalStatements:
    """The statements that find, claim and delete the signals of one model.

    :param signals: The table of the signals.
    :param dialect: The database that executes the statements.
    :param facts: What the database knows of the table.
    """

    def __init__(
        self, signals: SignalTable, dialect: Dialect, facts: TableFacts
    ) -> None:
        #: The table, with its key in the order in which signals are claimed.
        self.signals = signals.ordered_by(facts.key)
        self._facts = facts
        self._order = KeyOrder(self.signals.key, dialect, facts.collations, facts.types)
        self._target = Target(self.signals, self._order, dialect, facts)

    def look(self, connection: Connection) -> tuple[Key | None, SignalStatements]:
        """Return the last key of all, ``None`` if nothing is pending.

        :return: Also the statements that suit what the database believes to be pending.
        """
        name = {"table": name_on(connection, self.signals.table)}
        row = connection.execute(self._select_newest, name).first()
        if row is None:
            return None, self

        count = len(self.signals.key)
        facts = replace(self._facts, is_underestimated=any(row[count:]))
        return row[:count], _statements_of(self.signals, self._target.dialect, facts)

    def peek(self, connection: Connection, keys: KeyRange, limit: int) -> list[Key]:
        """Return the first keys of a range, including those that others hold."""
        is_after = [self._order.is_after("after")] if keys.after is not None else []
        first = self._select_first(*is_after, self._order.is_up_to("last"))
        statement = first.with_only_columns(*self.signals.key)
        rows = connection.execute(statement, self._parameters(keys, limit))
        return [tuple(row) for row in rows]

    def claim(self, connection: Connection, keys: KeyRange, limit: int) -> Rows:
        """Delete the first signals of a range, except those that others hold.

        :return: What has been deleted, in the order of the primary key.
        :raises RuntimeError: If a claimed signal could not be deleted.
        """
        claim = self._claim_first if keys.after is None else self._claim_next
        return self._check(connection, claim(connection, self._parameters(keys, limit)))

    def claim_only(self, connection: Connection, key: Key) -> Rows:
        """Delete one signal, unless it is gone or somebody else holds it."""
        parameters = self._order.parameters("only", key)
        rows = self._claim_only(connection, {**parameters, "limit": 1})
        return self._check(connection, rows)

    def _check(self, connection: Connection, rows: Rows) -> Rows:
        """Have constraints checked now that would be checked after the send."""
        if rows and self._check_constraints is not None:
            connection.execute(self._check_constraints)

        return rows

    @cached_property
    def _check_constraints(self) -> TextClause | None:
        names = ", ".join(self._facts.late_constraints).replace(":", r"\:")
        statement = self._target.traits.check_constraints
        return text(statement.format(names)) if statement and names else None

    @cached_property
    def _select_newest(self) -> Select[Any]:
        query = self._target.traits.expects_nothing
        columns = [text(f"({query}) AS expects_nothing")] if query else []
        newest_first = (column.desc() for column in self.signals.key)
        # What has no key comes last on PostgreSQL, and after nothing.
        has_key = (column.is_not(None) for column in self.signals.key)
        newest = self._select(*self.signals.key).where(*has_key)
        return newest.order_by(*newest_first).limit(1).add_columns(*columns)

    @cached_property
    def _claim_first(self) -> Claim:
        return build_claim(self._target, self._select_first(), last="last")

    @cached_property
    def _claim_next(self) -> Claim:
        first = self._select_first(self._order.is_after("after"))
        return build_claim(self._target, first, last="last")

    @cached_property
    def _claim_only(self) -> Claim:
        return build_claim(
            self._target, self._select_first(self._order.equals("only")), last=None
        )

    def _select_first(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        statement = self._select(*self.signals.columns).where(*conditions)
        hint = self._target.index_hint
        if hint is not None:
            # SQLAlchemy formats it with the name of the table.
            hint = hint.replace("%", "%%")
            statement = statement.with_hint(self.signals.table, hint)
        limit = self._order.hidden("limit", Integer())
        return statement.order_by(*self.signals.key).limit(limit)

    def _select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).where(*self.signals.identity_filter)

    def _parameters(self, keys: KeyRange, limit: int) -> Parameters:
        parameters = {"limit": limit, **self._order.parameters("last", keys.last)}
        if keys.after is not None:
            parameters |= self._order.parameters("after", keys.after)

        return parameters
