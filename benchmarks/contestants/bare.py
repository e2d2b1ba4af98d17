"""The simplest loop that is right, written by hand on the bare driver.

It shows what flushing costs without a library: no retries, no checks, no session. It
takes the statements that anybody would write, and that suit this table at this hour.
"""

import datetime
import sqlite3
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmarks.contestants.protocol import TABLE, serve

Row = tuple[Any, ...]
#: Claims and deletes the first rows after one key (or from the start), but for
#: PostgreSQL up to and including another; returns them in order.
Claim = Callable[[Any, int | None, int, int], list[Row]]

NEWEST = f"SELECT id FROM {TABLE} ORDER BY id DESC LIMIT 1"

SQLITE = """
    DELETE FROM {table} WHERE id IN (
        SELECT id FROM {table} WHERE {after} id <= :last ORDER BY id LIMIT :size
    ) RETURNING id, text, recorded_at
"""
# Between two bounds PostgreSQL would expect few rows, and sort all of them.
POSTGRESQL = """
    DELETE FROM {table} WHERE id = ANY (ARRAY(
        SELECT id FROM {table} WHERE {after} TRUE
        ORDER BY id LIMIT %(size)s FOR UPDATE SKIP LOCKED
    )) RETURNING id, text, recorded_at
"""
MYSQL = """
    SELECT id, text, recorded_at FROM {table}
    WHERE {after} id <= %(last)s ORDER BY id LIMIT %(size)s FOR UPDATE SKIP LOCKED
"""
MYSQL_DELETE = f"DELETE FROM {TABLE} WHERE id IN ({{keys}}) ORDER BY id LIMIT %s"


class Statement:
    """A claim, with and without a key to start after."""

    def __init__(self, template: str, condition: str) -> None:
        self._first = template.format(table=TABLE, after="")
        self._next = template.format(table=TABLE, after=f"{condition} AND")

    def execute(self, cursor: Any, after: int | None, last: int, size: int) -> Any:
        bounds = {"last": last, "size": size}
        if after is None:
            return cursor.execute(self._first, bounds)

        return cursor.execute(self._next, {**bounds, "after": after})


def claim_on_sqlite() -> Claim:
    statement = Statement(SQLITE, "id > :after")

    def claim(cursor: Any, after: int | None, last: int, size: int) -> list[Row]:
        rows = statement.execute(cursor, after, last, size).fetchall()
        # The driver returns a timestamp as text; the sender must get a timestamp.
        parse = datetime.datetime.fromisoformat
        return sorted((key, text, parse(moment)) for key, text, moment in rows)

    return claim


def claim_on_postgresql() -> Claim:
    statement = Statement(POSTGRESQL, "id > %(after)s")

    def claim(cursor: Any, after: int | None, last: int, size: int) -> list[Row]:
        statement.execute(cursor, after, last, size)
        return sorted(cursor.fetchall())

    return claim


def claim_on_mysql() -> Claim:
    statement = Statement(MYSQL, "id > %(after)s")

    def claim(cursor: Any, after: int | None, last: int, size: int) -> list[Row]:
        statement.execute(cursor, after, last, size)
        rows: list[Row] = list(cursor.fetchall())
        keys = [row[0] for row in rows]
        if keys:
            marks = ", ".join(["%s"] * len(keys))
            cursor.execute(MYSQL_DELETE.format(keys=marks), [*keys, len(keys)])

        return rows

    return claim


def send_one(row: Row) -> None:
    pass


def send_all(rows: list[Row]) -> None:
    pass


def flush(connection: Any, claim: Claim, size: int) -> int:
    cursor = connection.cursor()
    cursor.execute(NEWEST)
    newest = cursor.fetchone()
    connection.commit()
    sent, after, more = 0, None, newest is not None
    while more:
        rows = claim(cursor, after, newest[0], size)
        send(rows)
        connection.commit()
        sent += len(rows)
        more = len(rows) == size
        after = rows[-1][0] if rows else None

    return sent


def send(rows: list[Any]) -> None:
    if len(rows) > 1:
        send_all(rows)
        return

    for row in rows:
        send_one(row)


def connect_sqlite(url: str) -> Any:
    return sqlite3.connect(url.removeprefix("sqlite:///"))


def connect_psycopg2(url: str) -> Any:
    import psycopg2

    return psycopg2.connect(_without_driver(url))


def connect_psycopg(url: str) -> Any:
    import psycopg

    # The library does not prepare statements either.
    return psycopg.connect(_without_driver(url), prepare_threshold=None)


def connect_pymysql(url: str) -> Any:
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path[1:],
    )
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    return connection


def _without_driver(url: str) -> str:
    scheme, rest = url.split("://")
    return f"{scheme.split('+')[0]}://{rest}"


DRIVERS: dict[str, tuple[Callable[[str], Any], Callable[[], Claim], str | None]] = {
    "sqlite": (connect_sqlite, claim_on_sqlite, None),
    "postgresql+psycopg2": (connect_psycopg2, claim_on_postgresql, "psycopg2-binary"),
    "postgresql+psycopg": (connect_psycopg, claim_on_postgresql, "psycopg"),
    "mysql+pymysql": (connect_pymysql, claim_on_mysql, "PyMySQL"),
    "mariadb+pymysql": (connect_pymysql, claim_on_mysql, "PyMySQL"),
}


def main(url: str) -> None:
    connect, make_claim, distribution = DRIVERS[urlsplit(url).scheme]
    connection, claim = connect(url), make_claim()
    serve(
        lambda burst, pause: flush(connection, claim, burst),
        [distribution] if distribution else [],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
