"""What can be wrong with a signal model's real table, as far as its database tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session

from ._dialects import traits_of
from ._errors import is_conflict
from ._models import Model, attributes_of, full_name
from ._questions import questions_for, startup_options
from ._real_tables import RealTable, table_rule, words_of
from ._reflection import is_view, key_indexes
from ._reports import Result, results_of
from ._rules import Candidate, Fault
from ._table_rules import has_own_table_and_primary_key

#: Where SQLAlchemy keeps the argument 'isolation_level' of an engine; its public
#: 'default_isolation_level' is what the server would take without it.
_ENGINE_LEVEL = "_on_connect_isolation_level"

_LEVEL_OPTION = re.compile(
    r"default_transaction_isolation\s*=\s*'?([a-z]+)(?:[\\ _-]+([a-z]+))?",
    re.IGNORECASE,
)


@table_rule(why="a flusher would have to reach it, too")
def database_answers(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the database of the model can be reached."""
    # Whatever it says instead of an answer is the fault.
    connection.execute(sa.select(sa.literal(1)))
    return None


@table_rule(
    why="there is nothing to flush, or it is looked for in the wrong place",
    needs=(database_answers,),
)
def table_exists(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the database has the model's table."""
    schema = connection.schema_for_object(real.table)
    if sa.inspect(connection).has_table(real.table.name, schema=schema):
        return None

    return Fault(
        found=f"there is no table {real.name_in(connection)} at {_place(connection)}",
        expected="the table of the model",
        hint="have all migrations been run, and in this database?",
    )


@table_rule(
    why="signals cannot be deleted there, so none is ever sent",
    needs=(database_answers,),
)
def server_is_writable(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the flusher is connected to a server that takes writes."""
    question = questions_for(connection.dialect).read_only
    reasons = real.answers(question, connection)
    if not reasons:
        return None

    return Fault(
        found=f"{', '.join(reasons)} at {_place(connection)}",
        expected="a primary server, in read-write mode",
        hint="does the address lead to a replica?",
    )


@table_rule(
    why="every flush would be refused",
    needs=(table_exists, server_is_writable),
    page="testing",
)
def rights_suffice(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the flusher may read, lock and delete the rows of the table."""
    for name, statement in _harmless_statements(real).items():
        try:
            connection.execute(statement)
        except DBAPIError as error:
            # Somebody else has locked the whole table, for the moment.
            if is_conflict(error, traits_of(connection.dialect)):
                raise

            return Fault(
                found=f"{name} is refused: {words_of(error)}",
                expected="a user who may read, lock and delete the rows",
                hint=questions_for(connection.dialect).rights,
            )

    question = questions_for(connection.dialect).missing_policies
    missing = real.answers(question, connection)
    if not missing:
        return None

    return Fault(
        found=f"row-level security has no policy for {', '.join(missing)}",
        expected="policies by which the user may read, lock and delete the same rows",
        hint="CREATE POLICY … FOR ALL, or one each for SELECT, UPDATE and DELETE",
    )


def _harmless_statements(real: RealTable) -> dict[str, sa.Executable]:
    """Return statements that need the rights of a flush, and find nothing."""
    columns = list(attributes_of(real.mapper))
    read = sa.select(*columns).where(sa.false())
    return {
        "SELECT": read,
        "SELECT … FOR UPDATE": read.with_for_update(),
        "DELETE": sa.delete(real.table).where(sa.false()),
    }


@table_rule(
    why="each burst would search and sort the whole backlog, and lock it on MySQL",
    needs=(table_exists,),
    page="testing",
)
def flush_walks_an_index(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the table has an index of the model's key, without NULLs."""
    if walked_index(real, connection):
        return None

    name = real.name_in(connection)
    if is_view(real.table, connection):
        return Fault(
            found=f"{name} is a view",
            expected="a table with the primary key of the model",
            hint="map the model to the table itself",
        )

    quoted = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quoted(column) for column in _key(real))
    return Fault(
        found=(
            f"no primary key or unique index of {name} consists of ({columns}), whole"
            f" and in one direction"
        ),
        expected="the primary key of the model, as a key of the table",
        hint=f"ALTER TABLE {name} ADD PRIMARY KEY ({columns})",
    )


def walked_index(real: RealTable, connection: Connection) -> tuple[str, ...]:
    """Return the columns of the index by which a flush finds each signal once."""
    indexes = key_indexes(real.signals, connection)
    return next((index.columns for index in indexes if index.is_unique), ())


@table_rule(
    why="the refusal comes at COMMIT, when the signals have been sent",
    needs=(table_exists,),
    page="testing",
)
def no_deferred_foreign_key(real: RealTable, connection: Connection) -> Fault | None:
    """Check that no foreign key forbids to delete signals, but at COMMIT only."""
    question = questions_for(connection.dialect).deferred_keys
    keys = real.answers(question, connection)
    if not keys:
        return None

    return Fault(
        found=f"deferred foreign keys to the table: {', '.join(keys)}",
        expected="ON DELETE CASCADE or SET NULL, or a key that is not deferred",
    )


@table_rule(
    why="without transactions, a signal is gone though it was not sent",
    needs=(table_exists,),
    page="testing",
)
def table_has_transactions(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the storage engine of the table has transactions and row locks."""
    question = questions_for(connection.dialect).other_engine
    engines = real.answers(question, connection)
    if not engines:
        return None

    name = real.name_in(connection)
    return Fault(
        found=f"the storage engine of the table is {engines[0]}",
        expected="InnoDB",
        hint=f"ALTER TABLE {name} ENGINE=InnoDB",
    )


@table_rule(why="every flush would be refused, with error 1665", needs=(table_exists,))
def binary_log_takes_flushes(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the binary log takes what is written at READ COMMITTED."""
    question = questions_for(connection.dialect).binary_log
    formats = real.answers(question, connection)
    if not formats:
        return None

    return Fault(
        found=f"binlog_format is {formats[0]}",
        expected="ROW or MIXED",
    )


@table_rule(why="updates may be lost, without an error", needs=(table_exists,))
def isolation_level_arrives(real: RealTable, connection: Connection) -> Fault | None:
    """Check that the server has taken over the isolation level of the engine."""
    for wanted, reported in _levels(real, connection):
        if wanted != _plain(reported):
            return Fault(
                found=f"the server reports {_plain(reported)}",
                expected=f"{wanted}, as the engine was configured",
                hint=(
                    "a pooler such as PgBouncer drops the options of connections;"
                    " set the level by 'isolation_level' of the engine"
                ),
            )

    return None


def _levels(real: RealTable, connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each level that was configured, and what the server says of it."""
    configured = connection.get_execution_options().get(
        "isolation_level", getattr(connection.dialect, _ENGINE_LEVEL, None)
    )
    if configured not in (None, "AUTOCOMMIT"):
        yield _plain(str(configured)), connection.get_isolation_level()

    option = _LEVEL_OPTION.search(startup_options(connection))
    question = questions_for(connection.dialect).default_level
    if option:
        wanted = " ".join(filter(None, option.groups())).upper()
        yield from ((wanted, level) for level in real.answers(question, connection))


#: All rules, in the order of their report.
DATABASE_RULES = (
    database_answers,
    table_exists,
    server_is_writable,
    rights_suffice,
    flush_walks_an_index,
    no_deferred_foreign_key,
    table_has_transactions,
    binary_log_takes_flushes,
    isolation_level_arrives,
)


def judge_table(
    model: Model, session: Session | scoped_session[Any]
) -> Iterator[Result]:
    """Try all rules on a model's real table, if it has a table of its own.

    Nothing is changed, but whatever the session holds is rolled back.

    :param session: Hands out the connections, as it would to a flush.
    """
    if has_own_table_and_primary_key.fault_of(Candidate(model)):
        return

    real, name = RealTable(model, session), full_name(model)
    for result in results_of(DATABASE_RULES, real, name=name):
        is_order_known = result.check == flush_walks_an_index.name
        if is_order_known and result.outcome == "passed":
            yield replace(result, reason=_remark_on_order(real))
        else:
            yield result


def _remark_on_order(real: RealTable) -> str:
    """Return what is worth knowing about the order of the model's key, if anything."""
    with real.connecting() as connection:
        index, declared = walked_index(real, connection), _key(real)
    if list(index) == declared:
        return ""

    return (
        f"Note: the model {full_name(real.model)} declares the primary key"
        f" ({', '.join(declared)}), but the index in the database is"
        f" ({', '.join(index)}), and that is the order in which a flush walks it."
    )


def _key(real: RealTable) -> list[str]:
    return [str(column.name) for column in real.mapper.primary_key]


def _plain(level: str) -> str:
    return level.upper().replace("_", " ").replace("-", " ")


def _place(connection: Connection) -> str:
    return connection.engine.url.render_as_string(hide_password=True)
