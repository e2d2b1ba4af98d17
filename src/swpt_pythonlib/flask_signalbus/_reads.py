"""Which statements write nothing, as far as their text tells."""

from __future__ import annotations

import re
from functools import lru_cache

# Statements that write nothing, after comments and parentheses. A 'SELECT', a 'WITH' or
# an 'EXPLAIN' may lead to either, so it is a read if no writing word follows.
_READ = re.compile(
    r"""(?: \s | \( | /\*(?:(?!\*/).)*\*/ | --[^\n]*\n )*+
        (?: (?: SHOW | SET | RESET | USE | DESC | DESCRIBE | PRAGMA | VALUES
              | TABLE | DECLARE | FETCH | MOVE | CLOSE | BEGIN | START | SAVEPOINT
              | RELEASE | ROLLBACK ) \b
          | SELECT \b (?! .* \b INTO \b )
          | EXPLAIN \b (?! .* \b ANALY[SZ]E \b .* \b (?: INTO | UPDATE | DELETE ) \b )
          | WITH \b (?! .* \b (?: INSERT | UPDATE | DELETE | MERGE ) \b ) )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


# Written as SQLAlchemy does. An insertion of a thousand rows is long, and hardly seen
# twice: it is not to be remembered.
_WRITES = ("INSERT ", "UPDATE ", "DELETE ")


def only_reads(statement: str) -> bool:
    """Tell whether a rollback of a statement would lose nothing."""
    return not statement.startswith(_WRITES) and _matches_read(statement)


@lru_cache
def _matches_read(statement: str) -> bool:
    return _READ.match(statement) is not None
