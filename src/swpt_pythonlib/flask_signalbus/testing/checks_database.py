"""Checks that look at the model's table, as its real database has it."""

from __future__ import annotations

from .._inspection import (
    flush_walks_an_index,
    no_deferred_foreign_key,
    rights_suffice,
    table_has_transactions,
)
from .._real_tables import RealTable
from .._rules import Rule
from .definition import Check
from .failures import Finding
from .harness import Harness


def _check_of(rule: Rule[RealTable]) -> Check:
    def run(harness: Harness) -> None:
        harness.table.require_table()
        if fault := rule.fault_of(RealTable(harness.model, harness.db.session)):
            raise Finding(fault)

    return Check(
        name=rule.name,
        kind="bus",
        run=run,
        rule=rule.text,
        why=rule.why,
        records=False,
        since="1.1",
    )


#: Without these, a flush is refused, or cannot be undone.
PREREQUISITES = tuple(
    map(_check_of, (rights_suffice, table_has_transactions, flush_walks_an_index))
)

#: Those of ``flask signalbus check --database`` that the model's tables decide, and
#: not the server.
CHECKS = (*PREREQUISITES, _check_of(no_deferred_foreign_key))
