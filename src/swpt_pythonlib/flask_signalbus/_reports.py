"""What became of the checks of signal models, and how that is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ._model_rules import RULES
from ._models import Model, full_name
from ._rules import Candidate, Fault, Rule, Subject


@dataclass(frozen=True)
class Result:
    """What became of a check.

    .. versionadded:: 1.0
    """

    model: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


def judge(
    model: Model, list_models: Callable[[], Collection[Model]]
) -> Iterator[Result]:
    """Try all rules on the class of a model, as far as that makes sense.

    :param list_models: Returns the signal models that the signal bus knows.
    """
    return results_of(RULES, Candidate(model, list_models), name=full_name(model))


def results_of(
    rules: Iterable[Rule[Subject]], subject: Subject, *, name: str
) -> Iterator[Result]:
    """Try rules on what they are about, but none that needs one that is broken.

    :param name: The name of the model.
    """
    causes: dict[str, str] = {}
    for rule in rules:
        obstacle = next(
            (causes[need.name] for need in rule.needs if need.name in causes), ""
        )
        if obstacle:
            causes[rule.name] = obstacle
            yield Result(name, rule.name, "skipped", blocked_by(obstacle))
        elif fault := rule.fault_of(subject):
            causes[rule.name] = rule.name
            yield Result(name, rule.name, "failed", _explanation(name, rule, fault))
        else:
            yield Result(name, rule.name, "passed")


def blocked_by(check: str, outcome: str = "failure") -> str:
    """Say that a check is not tried because another one has failed."""
    return f"blocked by {check}: see its {outcome}"


def _explanation(model: str, rule: Rule[Subject], fault: Fault) -> str:
    return explanation(model, rule.name, why=rule.why, fault=fault, page=rule.page)


def explanation(
    model: str, check: str, *, why: str, fault: Fault, page: str = "testing"
) -> str:
    """Say which model does not pass which check, and why that matters."""
    lines = {
        "found": fault.found,
        "expected": fault.expected,
        "why": why,
        "hint": fault.hint,
        "docs": anchor_of(check, page),
    }
    facts = [f"  {name + ':':9} {text}" for name, text in lines.items() if text]
    return "\n".join([f"{model} does not conform: {check}", *facts])


def anchor_of(check: str, page: str = "testing") -> str:
    """Return where the documentation explains a check."""
    return f"{page}.html#{check.replace('_', '-')}"


def summary(results: Iterable[Result]) -> str:
    """Sum up results in one line."""
    return summary_of((each.model, each.outcome, each.reason) for each in results)


def summary_of(results: Iterable[tuple[str, str, str]]) -> str:
    """Sum up models, outcomes and reasons in one line; pytest knows more outcomes.

    >>> summary_of([("A", "passed", ""), ("A", "skipped", "needs a broker: ...")])
    'signal models: 1 models, 2 checks, 1 passed, 1 skipped (1 needs a broker)'
    """
    results = list(results)
    models = {model for model, _, _ in results}
    outcomes = Counter(outcome for _, outcome, _ in results)
    counts = (f"{count} {outcome}" for outcome, count in outcomes.items())
    totals = (f"{len(models)} models", f"{len(results)} checks", *counts)
    line = f"signal models: {', '.join(totals)}"
    remarks = _remarks(reason for _, outcome, reason in results if outcome == "skipped")
    return f"{line} ({remarks})" if remarks else line


def _remarks(reasons: Iterable[str]) -> str:
    """Count the reasons of skipped checks, apart from how to help it."""
    counts = Counter(reason.partition(":")[0] for reason in reasons)
    return ", ".join(
        f"{count} {reason if count == 1 else re.sub('^needs', 'need', reason)}"
        for reason, count in counts.items()
    )
