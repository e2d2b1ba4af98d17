"""Checks that look at a signal model without touching the database."""

from __future__ import annotations

from .._model_rules import RULES
from .._rules import Candidate, Rule
from .definition import Check
from .failures import Finding
from .harness import Harness


def _check_of(rule: Rule[Candidate]) -> Check:
    def run(harness: Harness) -> None:
        candidate = Candidate(harness.model, harness.list_models)
        if fault := rule.fault_of(candidate):
            raise Finding(fault)

    return Check(
        name=rule.name,
        kind="static",
        run=run,
        rule=rule.text,
        why=rule.why,
        records=False,
        since=rule.since,
    )


#: The same that ``flask signalbus check`` tries.
CHECKS = tuple(map(_check_of, RULES))
