"""What concurrent transactions do to each other: the expectations, as one table.

The documentation shows it, and the tests provoke every cell of it. Run this module
(``make generated``) to write the documentation's table anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GENERATED = Path(__file__).parents[2] / "docs" / "_generated" / "anomalies.rst"

#: Each anomaly, and what it is.
MEANINGS = {
    "lost update": "Two transactions read a row and write what they have computed"
    " from it; the second overwrites what the first has written.",
    "write skew": "Two transactions read the same rows, and each writes one that the"
    " other has only read.",
    "phantom": "A query that is executed twice finds rows that were not there before.",
    "read skew": "Two rows that are read one after the other come from different"
    " states of the database.",
    "duplicate key": "Two transactions look for a key, do not find it, and insert it;"
    " the second gets an ``IntegrityError`` instead of a serialization conflict.",
}
ANOMALIES = tuple(MEANINGS)
#: On SQLite, what stands in place of a level is who begins a transaction.
BEGINS = ("BEGIN", "the driver's default")

_EVERYTHING = frozenset(ANOMALIES)
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Row:
    """What happens in a database, from one of its versions on, at a level."""

    dialect: str
    title: str
    level: str
    since: tuple[int, ...] = ()
    #: Whether it's the level that a transaction gets if none is configured.
    is_default: bool = False
    happens: frozenset[str]


ROWS = (
    Row(
        dialect="postgresql",
        title="PostgreSQL",
        level="READ COMMITTED",
        happens=_EVERYTHING,
    ),
    Row(
        dialect="postgresql",
        title="PostgreSQL",
        level="REPEATABLE READ",
        is_default=True,
        happens=frozenset({"write skew", "duplicate key"}),
    ),
    Row(
        dialect="postgresql",
        title="PostgreSQL",
        level="SERIALIZABLE",
        happens=_NOTHING,
    ),
    Row(dialect="mysql", title="MySQL", level="READ COMMITTED", happens=_EVERYTHING),
    Row(
        dialect="mysql",
        title="MySQL",
        level="REPEATABLE READ",
        happens=frozenset({"lost update", "write skew", "duplicate key"}),
    ),
    Row(
        dialect="mysql",
        title="MySQL",
        level="SERIALIZABLE",
        is_default=True,
        happens=_NOTHING,
    ),
    Row(
        dialect="mariadb",
        title="MariaDB",
        level="READ COMMITTED",
        happens=_EVERYTHING,
    ),
    Row(
        dialect="mariadb",
        title="MariaDB before 11.6.2",
        level="REPEATABLE READ",
        happens=frozenset({"lost update", "write skew", "duplicate key"}),
    ),
    Row(
        dialect="mariadb",
        title="MariaDB since 11.6.2",
        level="REPEATABLE READ",
        since=(11, 6, 2),
        happens=frozenset({"write skew"}),
    ),
    Row(
        dialect="mariadb",
        title="MariaDB",
        level="SERIALIZABLE",
        is_default=True,
        happens=_NOTHING,
    ),
    Row(
        dialect="sqlite",
        title="SQLite",
        level=BEGINS[0],
        is_default=True,
        happens=_NOTHING,
    ),
    Row(dialect="sqlite", title="SQLite", level=BEGINS[1], happens=_EVERYTHING),
)


def row_of(dialect: str, version: tuple[int, ...], level: str) -> Row:
    """Return the row of a database of a version, at a level."""
    rows = [
        row
        for row in ROWS
        if (row.dialect, row.level) == (dialect, level) and row.since <= version
    ]
    return max(rows, key=lambda row: row.since)


def rendered() -> str:
    """Return the table as the documentation shows it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield ".. Written by 'make generated'; don't edit. The tests prove every cell."
    yield ""
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    yield from _cells("Database", "Level", *map(str.capitalize, ANOMALIES))
    for row in ROWS:
        outcomes = ("happens" if name in row.happens else "" for name in ANOMALIES)
        level = f"{row.level} (default)" if row.is_default else row.level
        yield from _cells(row.title, level, *outcomes)
    yield ""
    for name, meaning in MEANINGS.items():
        yield f"{name.capitalize()}:"
        yield f"    {meaning}"
        yield ""


def _cells(first: str, *others: str) -> Iterator[str]:
    yield f"   * - {first}"
    for other in others:
        yield f"     - {other}".rstrip()


if __name__ == "__main__":
    GENERATED.parent.mkdir(exist_ok=True)
    GENERATED.write_text(rendered(), encoding="utf-8")
