"""What can be wrong with a signal model, as far as its class tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row

from ._lazy import is_lazy
from ._models import Model, attributes_of, burst_count_of, senders_of
from ._rules import Candidate, Fault, rule
from ._sender_code import attributes_read
from ._table_rules import (
    column_names_are_readable,
    created_at_is_a_moment,
    deletion_takes_no_other_signals,
    has_own_table_and_primary_key,
    no_foreign_key_blocks_deletion,
    primary_key_type_is_exact,
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
            is_lost = attribute not in columns and not hasattr(Row, attribute)
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
