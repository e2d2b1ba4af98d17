"""The real table of a signal model, and how a rule looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapper, Session, scoped_session

from ._catalogues import name_on
from ._models import Model, SignalTable
from ._reflection import answers_about
from ._rules import Fault, Rule, rule


@dataclass(frozen=True)
class RealTable:
    """The table of a signal model, as the database has it.

    :param model: The signal model, which is mapped to one table.
    :param session: Hands out the connections, as it would to a flush. Whatever it
        holds is rolled back.
    """

    model: Model
    session: Session | scoped_session[Any]

    @property
    def mapper(self) -> Mapper[Any]:
        """How the model is mapped."""
        mapper: Mapper[Any] = sa.inspect(self.model)
        return mapper

    @property
    def signals(self) -> SignalTable:
        """The table, as a flush sees it."""
        return SignalTable.of(self.mapper)

    @property
    def table(self) -> sa.Table:
        """The table, as the model declares it."""
        return self.signals.table

    @contextmanager
    def connecting(self) -> Iterator[Connection]:
        """Yield the connection that the session would use to delete signals."""
        arguments = {"mapper": self.mapper, "clause": sa.delete(self.table)}
        try:
            yield self.session.connection(bind_arguments=arguments)
        finally:
            self.session.rollback()

    def name_in(self, connection: Connection) -> str:
        """Return the quoted name by which the database finds the table."""
        return name_on(connection, self.table)

    def answers(self, query: str | None, connection: Connection) -> list[str]:
        """Ask the database about the table, if it can be asked that."""
        return list(map(str, answers_about(self.table, query, connection)))


Find = Callable[[RealTable, Connection], Fault | None]


def table_rule(
    *, why: str, needs: tuple[Rule[RealTable], ...] = (), page: str = "cli"
) -> Callable[[Find], Rule[RealTable]]:
    """Make a rule of a function that looks at a table through a connection."""

    def make(find: Find) -> Rule[RealTable]:
        @wraps(find)
        def fault_of(real: RealTable) -> Fault | None:
            try:
                with real.connecting() as connection:
                    return find(real, connection)
            except DBAPIError as error:
                return Fault(
                    found=f"the database does not answer: {words_of(error)}",
                    expected="an answer",
                )

        return rule(why=why, needs=needs, page=page)(fault_of)

    return make


def words_of(error: DBAPIError) -> str:
    """Return the first line of what the database has said."""
    return str(error.orig).strip().partition("\n")[0]
