"""What a flush has to know of a signal model, unless it must refuse the model."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from ._model_rules import fault_of_burst_count
from ._models import Model, SignalTable, burst_count_of
from ._rules import Candidate
from ._table_rules import (
    column_names_are_readable,
    deletion_takes_no_other_signals,
    has_own_table_and_primary_key,
)

_RULES_FOR_TABLES = (
    has_own_table_and_primary_key,
    column_names_are_readable,
    deletion_takes_no_other_signals,
)


def burst_size(model: Model) -> int:
    """Return how many signals of a model are sent in one transaction.

    :raises ValueError: If the model asks for anything but a positive integer.
    """
    # It may be a descriptor that reads the configuration: look at it only once.
    count = burst_count_of(model)
    if fault := fault_of_burst_count(model, count):
        raise ValueError(fault.refusal)

    size: int = count
    return size


def signal_table_of(model: Model) -> SignalTable:
    """Look up where the signals of a model lie.

    :raises RuntimeError: If they do not lie in exactly one table, have an attribute
        that could not be read from a row, or if deleting them would delete others.
    """
    return _signal_table_of(inspect(model))


@lru_cache(maxsize=256)
def _signal_table_of(mapper: Mapper[Any]) -> SignalTable:
    candidate = Candidate(mapper.class_)
    for rule in _RULES_FOR_TABLES:
        fault = rule.fault_of(candidate)
        # The database need not know of the primary key; a check is stricter.
        if fault and fault.refusal:
            raise RuntimeError(fault.refusal)

    return SignalTable.of(mapper)
