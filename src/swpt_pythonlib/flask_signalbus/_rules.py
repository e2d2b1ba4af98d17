"""What can be wrong with a signal model, as far as its class tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator, TypeEngine

from ._lazy import is_lazy
from ._models import (
    Model,
    attributes_of,
    burst_count_of,
    is_signal_model,
    moment_of,
    senders_of,
)
from ._sender_code import attributes_read

#: Names that SQLAlchemy's ``Row`` defines; a column so named would be shadowed.
RESERVED_NAMES = frozenset(dir(sa.Row)) - {"count", "index"}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a signal model.

    :param found: What is the case.
    :param expected: What should be the case.
    :param hint: How to get there, where that is not obvious.
    :param refusal: How a flush refuses the model, where the fault makes it do so.
    """

    found: str
    expected: str
    hint: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Candidate:
    """A class that the rules judge.

    :param model: The class.
    :param list_models: Returns the signal models that the signal bus knows.
    """

    model: Model
    list_models: Callable[[], Collection[Model]] = tuple

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.model.__name__

    @property
    def mapper(self) -> Mapper[Any]:
        """How the class is mapped."""
        mapper: Mapper[Any] = sa.inspect(self.model)
        return mapper


Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """One thing that can be wrong with a signal model.

    :param name: The name of the check that tries it.
    :param text: The rule in a sentence.
    :param why: Why breaking the rule matters.
    :param fault_of: Returns what breaks the rule, if anything does.
    :param needs: The rules without which this one has nothing to look at.
    :param page: The page of the documentation that explains it.
    :param since: The release that brought it.
    """

    name: str
    text: str
    why: str
    fault_of: Callable[[Subject], Fault | None]
    needs: tuple[Rule[Subject], ...] = ()
    page: str = "testing"
    since: str = "1.0"


def rule(
    *,
    why: str,
    needs: tuple[Rule[Any], ...] = (),
    page: str = "testing",
    since: str = "1.0",
) -> Callable[[Callable[[Subject], Fault | None]], Rule[Subject]]:
    """Make a rule of a function; its docstring is the rule in a sentence."""

    def make(fault_of: Callable[[Subject], Fault | None]) -> Rule[Subject]:
        name = f"check_{fault_of.__name__}"
        text = (fault_of.__doc__ or "").strip()
        return Rule(name, text, why, fault_of, needs, page, since)

    return make


@rule(why="a row that lies in two tables is not gone when one of them is")
def has_own_table_and_primary_key(candidate: Candidate) -> Fault | None:
    """Check that the model has exactly one table, and a primary key on it."""
    mapper = sa.inspect(candidate.model, raiseerr=False)
    if mapper is None:
        return Fault(
            found="the class is not mapped to a table",
            expected="a model with '__tablename__'",
            hint="an abstract class is no signal model; check its subclasses",
        )
    if not isinstance(mapper.persist_selectable, sa.Table):
        return _several_tables(candidate)
    if not mapper.local_table.primary_key.columns:
        return Fault(
            found=f"the table '{mapper.local_table}' has no primary key",
            expected="a primary key, by which signals are told apart",
        )

    return None


def _several_tables(candidate: Candidate) -> Fault:
    tables = ", ".join(str(table) for table in candidate.mapper.tables)
    return Fault(
        found=f"the model is mapped to {tables}",
        expected="exactly one table",
        hint="joined-table inheritance is not supported; let it be a table of its own",
        refusal=(
            f"The signal model '{candidate.name}' must be mapped to exactly one table,"
            f" not to a join or a query; joined-table inheritance is not supported."
        ),
    )


@rule(
    why="a model that the bus does not list is never flushed",
    needs=(has_own_table_and_primary_key,),
)
def is_discovered(candidate: Candidate) -> Fault | None:
    """Check that the signal bus lists the model."""
    if candidate.model in candidate.list_models():
        return None

    return Fault(
        found="get_signal_models() does not list the model",
        expected="every mapped subclass of db.Model with 'send_signalbus_message'",
        hint="is it a subclass of this application's db.Model?",
    )


@rule(
    why="the bus calls Model.send_signalbus_message(signal), no instance",
    needs=(has_own_table_and_primary_key,),
)
def send_method_is_classmethod(candidate: Candidate) -> Fault | None:
    """Check that the send methods are called on the class, with one argument."""
    for name, method in senders_of(candidate.model).items():
        # What is found by the class may be anything that can be called.
        is_of_instances = inspect.isfunction(
            inspect.getattr_static(candidate.model, name)
        )
        if is_of_instances or not callable(method):
            return Fault(
                found=f"'{name}' is not a class method",
                expected=f"@classmethod def {name}(cls, …)",
            )
        if not _takes_one_argument(method):
            return Fault(
                found=f"'{name}' has the signature {inspect.signature(method)}",
                expected="exactly one positional argument",
            )

    return None


@rule(
    why="its body never runs, and the rows are deleted all the same",
    needs=(has_own_table_and_primary_key,),
)
def send_method_is_not_lazy(candidate: Candidate) -> Fault | None:
    """Check that the send methods are neither coroutines nor generators."""
    for name, method in senders_of(candidate.model).items():
        if is_lazy(inspect.unwrap(method)):
            return Fault(
                found=f"'{name}' is a coroutine or a generator",
                expected="a plain function, which has sent when it returns",
                hint="wrap it: asyncio.run(…), or list(…)",
            )

    return None


@rule(
    why="a sender gets a row of the table, and no instance of the model",
    needs=(has_own_table_and_primary_key,),
    since="1.1",
)
def send_method_reads_columns(candidate: Candidate) -> Fault | None:
    """Check that the send methods ask nothing of a signal but its columns."""
    columns = set(attributes_of(candidate.mapper).values())
    for name, method in senders_of(candidate.model).items():
        for attribute in attributes_read(method):
            is_lost = attribute not in columns and not hasattr(sa.Row, attribute)
            if is_lost and hasattr(candidate.model, attribute):
                return Fault(
                    found=f"'{name}' uses '{attribute}', which is not a column",
                    expected="nothing but columns",
                    hint="a class method or a function can take the row",
                )

    return None


@rule(
    why="a flush of the model would raise instead of sending",
    needs=(has_own_table_and_primary_key,),
)
def burst_count_is_positive_int(candidate: Candidate) -> Fault | None:
    """Check that the burst count is a positive integer."""
    return fault_of_burst_count(candidate.model, burst_count_of(candidate.model))


def fault_of_burst_count(model: Model, count: object) -> Fault | None:
    """Return what is wrong with a burst count that was read already."""
    if type(count) is int and count >= 1:
        return None

    return Fault(
        found=f"'signalbus_burst_count' is {count!r}",
        expected="an int, 1 or more",
        refusal=(
            f"'signalbus_burst_count' of '{model.__name__}' must be a positive"
            f" integer, got {count!r}."
        ),
    )


@rule(
    why="the send method would read something else than the column",
    needs=(has_own_table_and_primary_key,),
)
def column_names_are_readable(candidate: Candidate) -> Fault | None:
    """Check that no attribute is hidden by a name that rows define themselves."""
    names = attributes_of(candidate.mapper).values()
    hidden = [name for name in names if name in RESERVED_NAMES]
    if not hidden:
        return None

    return Fault(
        found=f"rows have something of their own named {', '.join(sorted(hidden))}",
        expected="another attribute name",
        hint="the column may keep its name: title = db.Column('t', …)",
        refusal=(
            f"The attribute '{hidden[0]}' of the signal model '{candidate.name}' is"
            f" hidden by a method of rows. Map the column to another name."
        ),
    )


@rule(
    why="a refused deletion keeps the signal pending forever",
    needs=(has_own_table_and_primary_key,),
)
def no_foreign_key_blocks_deletion(candidate: Candidate) -> Fault | None:
    """Check that no foreign key forbids deleting the signals."""
    table = candidate.mapper.local_table
    assert isinstance(table, sa.Table)
    blocking = [
        str(key.parent)
        for other in table.metadata.tables.values()
        for key in other.foreign_keys
        if _refers_to(key, table) and not _gives_way(key)
    ]
    if not blocking:
        return None

    return Fault(
        found=f"foreign keys to the model's table: {', '.join(blocking)}",
        expected="ON DELETE CASCADE, SET NULL or SET DEFAULT",
        hint="signals are deleted by a plain DELETE; the ORM's cascades do not run",
    )


@rule(
    why="they would be lost, and without an error on some databases",
    needs=(has_own_table_and_primary_key,),
)
def deletion_takes_no_other_signals(candidate: Candidate) -> Fault | None:
    """Check that no foreign key deletes other signals along with a signal."""
    cascading = _cascading_keys(candidate.mapper)
    if not cascading:
        return None

    return Fault(
        found=f"ON DELETE CASCADE from other signals: {', '.join(cascading)}",
        expected="ON DELETE SET NULL or SET DEFAULT, or no foreign key",
        refusal=(
            f"Deleting a signal of '{candidate.name}' would delete others that have"
            f" not been sent, by the foreign key '{cascading[0]}'. Use another"
            f" 'ondelete' than CASCADE."
        ),
    )


@rule(
    why="a key that differs after a round trip does not find its row",
    needs=(has_own_table_and_primary_key,),
)
def primary_key_type_is_exact(candidate: Candidate) -> Fault | None:
    """Check that no column of the primary key is a binary fraction."""
    key = candidate.mapper.primary_key
    inexact = [column.name for column in key if _is_inexact(column)]
    if not inexact:
        return None

    return Fault(
        found=f"the primary key has inexact columns: {', '.join(inexact)}",
        expected="integers, texts, dates, identifiers, or exact decimals",
    )


@rule(
    why="'flask signalbus pending --oldest' would raise an error",
    needs=(has_own_table_and_primary_key,),
    since="1.1",
)
def created_at_is_a_moment(candidate: Candidate) -> Fault | None:
    """Check that ``signalbus_created_at`` names a column of dates with times."""
    name = moment_of(candidate.model)
    types = {n: c.type for c, n in attributes_of(candidate.mapper).items()}
    if name is None or (isinstance(name, str) and _is_moment(types.get(name))):
        return None

    return Fault(
        found=f"'signalbus_created_at' is {name!r}",
        expected="the name of an attribute that is mapped to a 'DateTime' column",
    )


#: All rules, in the order of their report.
RULES = (
    has_own_table_and_primary_key,
    is_discovered,
    send_method_is_classmethod,
    send_method_is_not_lazy,
    send_method_reads_columns,
    burst_count_is_positive_int,
    column_names_are_readable,
    no_foreign_key_blocks_deletion,
    deletion_takes_no_other_signals,
    primary_key_type_is_exact,
    created_at_is_a_moment,
)


def _takes_one_argument(method: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(method)
    except ValueError:  # What is written in C need not tell.
        return True

    try:
        signature.bind(object())
    except TypeError:
        return False

    return True


def _cascading_keys(mapper: Mapper[Any]) -> list[str]:
    """Return the foreign keys by which deleting a signal deletes other signals."""
    others = (o for o in mapper.registry.mappers if is_signal_model(o.class_))
    tables = dict.fromkeys(other.local_table for other in others)
    return [
        str(key.parent)
        for table in tables
        for key in table.foreign_keys
        if _refers_to(key, mapper.local_table) and _on_delete(key) == "CASCADE"
    ]


def _refers_to(key: sa.ForeignKey, table: sa.FromClause) -> bool:
    # Not 'key.column', which fails when some other key leads nowhere.
    return key.target_fullname.rpartition(".")[0] == getattr(table, "fullname", None)


def _gives_way(key: sa.ForeignKey) -> bool:
    return _on_delete(key) in {"CASCADE", "SET NULL", "SET DEFAULT"}


def _on_delete(key: sa.ForeignKey) -> str:
    return (key.ondelete or "").upper()


def _is_moment(column_type: TypeEngine[Any] | None) -> bool:
    return isinstance(_plain(column_type), sa.DateTime)


def _is_inexact(column: sa.ColumnElement[Any]) -> bool:
    column_type = _plain(column.type)
    is_fraction = isinstance(column_type, sa.Float)
    return is_fraction or getattr(column_type, "asdecimal", True) is False


def _plain(column_type: TypeEngine[Any] | None) -> TypeEngine[Any] | None:
    """Return the type that a type of the application's own is made of."""
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance

    return column_type
