"""The index that a table really has, whoever has made it: a flush walks by it."""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from support.broker import broker
from support.capabilities import COLLATIONS, CREATE_SCHEMA, UNUSABLE_INDEXES
from support.costs import Reads, Statements
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus import _reflection

_BURST = 10
_TIMEOUT = 30
# Neither sorted by 'a' nor by 'n'; in any order of the key bursts have to begin and to
# end among equal values of its first column.
LETTERS = [(f"u{n * 7 % 3}", n * 5 % 32) for n in range(1, 32)]

Items = Callable[[], list[Any]]

#: Each index, and the order of the key in which it has the signals.
INDEXES: dict[str, tuple[Items, str]] = {
    "of a migration": (lambda: [sa.PrimaryKeyConstraint("a", "n")], "an"),
    "of an explicit constraint": (lambda: [sa.PrimaryKeyConstraint("n", "a")], "na"),
    "unique": (lambda: [sa.Index("ux", "a", "n", unique=True)], "an"),
    "unique, of a constraint": (lambda: [sa.UniqueConstraint("n", "a")], "na"),
    "not unique": (lambda: [sa.Index("ix", "a", "n")], "an"),
    "descending": (lambda: [sa.Index("ix", sa.desc("a"), sa.desc("n"))], "an"),
    "with an odd name": (lambda: [sa.Index("The :`odd`% 'x", "a", "n")], "an"),
    "beside one that is not unique": (
        lambda: [sa.Index("ix", "n", "a"), sa.Index("ux", "a", "n", unique=True)],
        "an",
    ),
    "beside others": (
        lambda: [sa.PrimaryKeyConstraint("a", "n"), sa.Index("ix", "n", "a")],
        "an",
    ),
}

each_index = pytest.mark.parametrize(
    ("items", "order"),
    [pytest.param(*index, id=name) for name, index in INDEXES.items()],
)


def sends_texts(cls: Any, signals: Any) -> None:
    broker().take(signals)


def make_letter(database: Any, **table_args: Any) -> Any:
    """Return a model whose key 'create_all' would order by 'n'."""

    @model_of(database)
    class Letter(OwnModel):
        __table_args__ = table_args
        signalbus_burst_count = _BURST
        a = sa.Column(sa.String(9), primary_key=True)
        n = sa.Column(sa.BigInteger, primary_key=True, autoincrement=True)
        text = sa.Column(sa.String(40), nullable=False)

        send_signalbus_message = classmethod(lambda cls, obj: broker().take([obj]))
        send_signalbus_messages = classmethod(sends_texts)

    return Letter


def make_table(database: Any, items: list[Any], schema: str | None = None) -> None:
    """Create the table of letters by hand."""
    table = sa.Table(
        "letter",
        sa.MetaData(),
        sa.Column("a", sa.String(9), nullable=False),
        sa.Column("n", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("text", sa.String(40), nullable=False),
        *items,
        schema=schema,
    )
    table.create(database.engine)


def record(database: Any, model: Any, letters: list[tuple[str, int]]) -> None:
    rows = [{"a": a, "n": n, "text": f"{a} {n}"} for a, n in letters]
    for i in range(0, len(rows), 1000):
        database.session.execute(sa.insert(model), rows[i : i + 1000])
    database.session.commit()


def in_order(order: str, letters: list[tuple[str, int]] = LETTERS) -> list[str]:
    """Return the texts of letters, as an index of these columns has them."""
    rows = [{"a": a, "n": n} for a, n in letters]
    rows.sort(key=lambda row: [row[name] for name in order])
    return ["{a} {n}".format(**row) for row in rows]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def in_application(app: Flask, work: Callable[[], int]) -> int:
    with app.app_context():
        return work()


@each_index
def test_signals_are_sent_in_the_order_of_the_index(
    items: Items, order: str, make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12, F3: each of them once."""
    own_db = make_db()
    letter = make_letter(own_db)
    make_table(own_db, items())
    record(own_db, letter, LETTERS)

    assert own_db.signalbus.flushmany() == len(LETTERS)
    assert broker().sent == in_order(order)
    assert [len(call) for call in broker().calls] == [10, 10, 10, 1]
    assert warnings(caplog) == []


@pytest.mark.requires("skip_locked")
@each_index
def test_a_second_flusher_walks_by_the_index_too(
    items: Items, order: str, make_db: DBFactory
) -> None:
    """F12, F3: it is not locked out by a sort of all that is pending."""
    own_db = make_db()
    letter = make_letter(own_db)
    make_table(own_db, items())
    record(own_db, letter, LETTERS)
    app = cast("Any", current_app)._get_current_object()
    counts: list[int] = []

    def flush_elsewhere(_: str) -> None:
        if not counts:
            counts.append(0)
            with ThreadPoolExecutor(1) as pool:
                flush = own_db.signalbus.flushmany
                flushed = pool.submit(in_application, app, flush)
                counts[0] = flushed.result(_TIMEOUT)

    broker().meanwhile = flush_elsewhere

    assert own_db.signalbus.flushmany() == _BURST
    assert counts == [len(LETTERS) - _BURST]
    ordered = in_order(order)
    assert broker().sent == ordered[_BURST:] + ordered[:_BURST]


class Enough(KeyboardInterrupt):
    """No more bursts are needed."""


@each_index
def test_what_a_burst_reads_does_not_depend_on_the_backlog(
    items: Items, order: str, make_db: DBFactory, dialect_name: str
) -> None:
    """F12: whatever the order of the key is."""
    own_db = make_db()
    reads = Reads(dialect_name, own_db, broker(), burst=_BURST)
    letter = make_letter(own_db)
    make_table(own_db, items())

    def take(text: str) -> None:
        if len(broker().sent) >= 12 * _BURST:
            raise Enough
        reads.note_taken(text)

    def reads_of(backlog: int) -> float:
        letters = [(f"u{n % 50}", n) for n in range(backlog)]
        random.Random(0).shuffle(letters)
        record(own_db, letter, letters)
        broker().sent.clear()
        broker().meanwhile = take
        with pytest.raises(Enough):
            own_db.signalbus.flushmany()
        own_db.session.execute(sa.delete(letter))
        own_db.session.commit()
        return reads.per_burst()

    few, many = reads_of(5_000), reads_of(40_000)

    assert many <= 1.3 * few


def test_a_table_is_looked_at_once_for_each_engine(
    make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: even if no index is found, of which is warned once."""
    own_db = make_db()
    make_letter(own_db)
    make_table(own_db, [])
    statements = Statements()
    statements.listen(own_db.engine)
    costs = []

    for _ in range(3):
        before = statements.count
        own_db.signalbus.flushmany()
        costs.append(statements.count - before)

    assert costs[0] > costs[1] == costs[2] == 1
    assert len(warnings(caplog)) == 1


def test_a_table_is_looked_at_again_when_its_index_is_gone(make_db: DBFactory) -> None:
    """F12: a worker need not be started anew after a migration."""
    own_db = make_db()
    letter = make_letter(own_db)
    index = sa.Index("ix", "a", "n")
    make_table(own_db, [index])
    record(own_db, letter, LETTERS)
    assert own_db.signalbus.flushmany() == len(LETTERS)
    record(own_db, letter, LETTERS)

    index.drop(own_db.engine)
    with contextlib.suppress(sa.exc.DBAPIError):
        own_db.signalbus.flushmany()
    own_db.signalbus.flushmany()

    assert sorted(broker().sent) == sorted(2 * in_order("an"))


def test_a_table_without_an_index_is_flushed_with_a_warning_that_helps(
    make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: once the statement has been executed, new engines do not warn."""
    own_db = make_db()
    letter = make_letter(own_db)
    make_table(own_db, [])
    record(own_db, letter, LETTERS)

    assert own_db.signalbus.flushmany() == len(LETTERS)
    assert broker().sent == in_order("na")
    (warning,) = warnings(caplog)
    assert "table 'letter'" in warning
    assert "(n, a)" in warning

    create_index(own_db, warning)
    caplog.clear()
    flush_on_a_new_engine(own_db)
    assert warnings(caplog) == []


def create_index(database: Any, warning: str) -> None:
    """Do what a warning asks for."""
    statement = warning.partition("Create one: ")[2]
    assert statement.startswith("CREATE UNIQUE INDEX ")
    with database.engine.begin() as connection:
        connection.execute(sa.text(statement.replace(":", r"\:")))


def flush_on_a_new_engine(database: Any) -> int:
    """Forget what has been learned on the engine of a database."""
    _reflection._KNOWN.pop(database.engine.dialect)
    flushed: int = database.signalbus.flushmany()
    return flushed


def test_indexes_in_another_order_than_that_of_their_columns_are_not_walked(
    make_db: DBFactory, dialect_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: nor those that lack rows, or that the database does not use."""
    for statement in UNUSABLE_INDEXES[dialect_name]:
        own_db = make_db()
        letter = make_letter(own_db)
        make_table(own_db, [])
        with own_db.engine.begin() as connection:
            connection.execute(sa.text(statement))
        record(own_db, letter, LETTERS)
        caplog.clear()

        assert own_db.signalbus.flushmany() == len(LETTERS)
        assert broker().sent == in_order("na"), statement
        assert len(warnings(caplog)) == 1, statement
        own_db.drop_all()


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param([sa.PrimaryKeyConstraint("c a", "a", "B")], id="a primary key"),
        pytest.param([], id="no index"),
    ],
)
def test_odd_names_are_quoted(
    constraints: list[Any], make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12, S6: a key of three columns, in another order than that of the model."""
    own_db = make_db()
    name = "Odd `:name` %s"

    @model_of(own_db)
    class Odd(OwnModel):
        __tablename__ = name
        signalbus_burst_count = 2
        a = sa.Column(sa.Integer, primary_key=True)
        b = sa.Column("B", sa.Integer, primary_key=True)
        c = sa.Column("c a", sa.Integer, primary_key=True)
        text = sa.Column("te:xt", sa.String(40))
        send_signalbus_message = classmethod(lambda cls, obj: broker().take([obj]))

    columns = [sa.Column(c, sa.Integer, nullable=False) for c in ("a", "B", "c a")]
    text = sa.Column("te:xt", sa.String(40))
    table = sa.Table(name, sa.MetaData(), *columns, text, *constraints)
    table.create(own_db.engine)
    keys = [(1, 2, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1), (2, 1, 3)]
    rows = [{"a": a, "b": b, "c": c, "text": f"{c}{a}{b}"} for a, b, c in keys]
    own_db.session.execute(sa.insert(Odd), rows)
    own_db.session.commit()

    assert own_db.signalbus.flushmany() == len(keys)
    if constraints:
        assert broker().sent == sorted(f"{c}{a}{b}" for a, b, c in keys)
    else:
        create_index(own_db, *warnings(caplog))
        caplog.clear()
        flush_on_a_new_engine(own_db)
    assert warnings(caplog) == []


def test_names_may_differ_in_case(
    make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12, S6: where the database does not mind."""
    own_db = make_db()
    letter = make_letter(own_db)
    columns = "A VARCHAR(9) NOT NULL, N BIGINT NOT NULL, TEXT VARCHAR(40) NOT NULL"
    with own_db.engine.begin() as connection:
        connection.execute(
            sa.text(f"CREATE TABLE letter ({columns}, PRIMARY KEY (A, N))")
        )
    record(own_db, letter, LETTERS)

    assert own_db.signalbus.flushmany() == len(LETTERS)
    assert broker().sent == in_order("an")
    assert warnings(caplog) == []


def test_rows_without_a_key_do_not_hold_up_the_others(make_db: DBFactory) -> None:
    """F12, F9: where an index admits NULLs, PostgreSQL has them come last."""
    own_db = make_db()
    letter = make_letter(own_db)
    columns = "a VARCHAR(9), n BIGINT, text VARCHAR(40)"
    with own_db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE letter ({columns}, UNIQUE (a, n))"))
        connection.execute(sa.text("INSERT INTO letter (text) VALUES ('lost')"))
    record(own_db, letter, LETTERS)

    assert own_db.signalbus.flushmany() == len(LETTERS)
    assert broker().sent == in_order("an")


@pytest.mark.requires("deletes_by_view")
def test_a_view_is_flushed_without_a_hint(
    make_db: DBFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """F12: it has no index of its own to be hinted at, or to be asked for."""
    own_db = make_db()
    letter = make_letter(own_db)
    make_table(own_db, [sa.PrimaryKeyConstraint("a", "n")])
    record(own_db, letter, LETTERS)

    with hidden_by_a_view(own_db):
        assert own_db.signalbus.flushmany() == len(LETTERS)

    assert broker().sent == in_order("na")
    assert warnings(caplog) == []


@pytest.mark.requires("claims_from_tables")
def test_a_view_is_refused_where_its_rows_would_stay(make_db: DBFactory) -> None:
    """F12, F4: SQLite would return rows that it does not delete, to be sent again."""
    own_db = make_db()
    letter = make_letter(own_db)
    make_table(own_db, [sa.PrimaryKeyConstraint("a", "n")])
    record(own_db, letter, LETTERS)

    with hidden_by_a_view(own_db):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="'letter' is a view"):
                own_db.signalbus.flushmany()

    assert broker().sent == []
    assert own_db.signalbus.flushmany() == len(LETTERS)


@contextlib.contextmanager
def hidden_by_a_view(database: Any) -> Iterator[None]:
    """Have a view in the place of the table of letters."""

    def execute(*statements: str) -> None:
        with database.engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    execute(
        "ALTER TABLE letter RENAME TO letters",
        "CREATE VIEW letter AS SELECT * FROM letters",
    )
    try:
        yield
    finally:
        execute("DROP VIEW letter", "ALTER TABLE letters RENAME TO letter")


@pytest.mark.parametrize("is_translated", [False, True], ids=["named", "translated"])
@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
def test_the_table_is_looked_at_in_its_schema(
    *,
    is_translated: bool,
    has_key: bool,
    make_db: DBFactory,
    dialect_name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F12, S6: and nowhere else."""
    own_db = make_db()
    url = own_db.engine.url
    schema = f"{url.database}_other{is_translated:d}{has_key:d}"
    schema = schema if url.host else "other"
    named = "tenant" if is_translated else schema
    translation = {"tenant": schema} if is_translated else {}
    own_db.engine.update_execution_options(schema_translate_map=translation)
    letter = make_letter(own_db, schema=named)
    own_db.session.execute(sa.text(CREATE_SCHEMA[dialect_name].format(schema)))
    own_db.session.commit()
    # Where the table is not, there is one of another kind.
    make_table(own_db, [] if has_key else [sa.PrimaryKeyConstraint("a", "n")])
    make_table(own_db, [sa.PrimaryKeyConstraint("a", "n")] if has_key else [], schema)
    record(own_db, letter, LETTERS)

    assert own_db.signalbus.flushmany() == len(LETTERS)
    assert broker().sent == in_order("an" if has_key else "na")
    assert len(warnings(caplog)) == (not has_key)
    if not has_key:
        create_index(own_db, *warnings(caplog))
        caplog.clear()
        flush_on_a_new_engine(own_db)
        assert warnings(caplog) == []
    make_letter_table_go(own_db)


def make_letter_table_go(database: Any) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE letter"))


# Case, accents and trailing spaces tell some collations from others.
WORDS = [
    "a",
    "B",
    "c",
    "D",
    "\u00e9a",
    "eb",
    "z",
    "Zb ",
    "aa  ",
    "a a",
    "aB",
    "AC",
    "f'",
]


@pytest.mark.parametrize("is_composite", [False, True], ids=["alone", "composite"])
@pytest.mark.parametrize("is_declared", [False, True], ids=["hidden", "declared"])
def test_texts_are_sent_in_the_order_of_their_collation(
    *, is_declared: bool, is_composite: bool, make_db: DBFactory, dialect_name: str
) -> None:
    """F3, F12: within a burst too, and even if only the table has it."""
    for collation in COLLATIONS[dialect_name]:
        own_db = make_db()
        declared = sa.String(9, collation=collation if is_declared else None)

        @model_of(own_db)
        class Word(OwnModel):
            signalbus_burst_count = 4
            text = sa.Column(declared, primary_key=True)
            n = sa.Column(sa.Integer, primary_key=is_composite, autoincrement=False)
            send_signalbus_message = classmethod(lambda cls, obj: broker().take([obj]))

        keys = ("text", "n") if is_composite else ("text",)
        sa.Table(
            "word",
            sa.MetaData(),
            sa.Column("text", sa.String(9, collation=collation)),
            sa.Column("n", sa.Integer),
            sa.PrimaryKeyConstraint(*keys),
        ).create(own_db.engine)
        numbers = range(1 + is_composite)
        rows = [{"text": text, "n": n} for text in WORDS for n in numbers]
        own_db.session.execute(sa.insert(Word), rows)
        query: Any = sa.select(Word.text)
        query = query.order_by(*(getattr(Word, key) for key in keys))
        expected = own_db.session.scalars(query).all()
        own_db.session.commit()

        assert own_db.signalbus.flushmany() == len(rows)
        assert broker().sent == expected, collation
        own_db.drop_all()
