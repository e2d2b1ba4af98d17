"""Serialization conflicts at chosen places, raised by the database itself.

Conflicts that two transactions really have are tests of their own; these strike
where no second transaction could be made to.
"""

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, event

# What makes a server report a conflict, without there being one.
_STATEMENTS = {
    "mariadb": "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
    "mysql": "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
    "postgresql": "DO $$ BEGIN RAISE USING ERRCODE = '40001'; END $$",
}


class LostRaces:
    """Have the next deletions, or the next commits, lose a race."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._deletions = self._commits = 0
        self._has_deleted = False
        #: How many races have been lost.
        self.lost = 0
        event.listen(engine, "do_execute", self._before_execute)
        event.listen(engine, "commit", self._before_commit)

    def remove(self) -> None:
        """Let all be as before."""
        event.remove(self._engine, "do_execute", self._before_execute)
        event.remove(self._engine, "commit", self._before_commit)

    def at_deletions(self, count: int) -> None:
        """Have the next statements that delete lose."""
        self._deletions = count

    def at_commits(self, count: int) -> None:
        """Have the next commits of a transaction that has deleted lose."""
        self._commits = count

    def _before_execute(self, cursor: Any, statement: str, *_: object) -> None:
        self._has_deleted = self._has_deleted or "DELETE" in statement
        if "DELETE" in statement and self._deletions:
            self._deletions -= 1
            self._lose(cursor)

    def _before_commit(self, connection: Connection) -> None:
        has_deleted, self._has_deleted = self._has_deleted, False
        if has_deleted and self._commits:
            self._commits -= 1
            self._deletions = 1
            connection.exec_driver_sql("SELECT 1 /* DELETE */")

    def _lose(self, cursor: Any) -> None:
        self.lost += 1
        if statement := _STATEMENTS.get(self._engine.dialect.name):
            cursor.execute(statement)

        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error
