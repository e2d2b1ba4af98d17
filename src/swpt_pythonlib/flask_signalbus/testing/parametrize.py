"""The pytest decorator: every signal model times every check."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from .._models import full_name
from .._reports import blocked_by
from .broker import RecordingBroker
from .catalogue import all_checks, concerns, signal_models
from .definition import Check
from .failures import CannotCheck, ConformanceFailure
from .harness import Harness
from .row_source import RowFactory
from .runner import obstacle_to, run

Expected = Mapping[tuple[type[Any], str], str]

#: Functions for some models, or one for all of them.
Rows = Mapping[type[Any], RowFactory] | Callable[[type[Any], int], Any]


@dataclass(frozen=True)
class ModelCheck:
    """A check of a model, to be called by a test.

    .. versionadded:: 1.0
    """

    model: type[Any]
    check: Check
    rows: RowFactory | None
    require_all: bool
    release: str | None = None
    session: Any = field(default=None, compare=False, repr=False)
    told: dict[tuple[type[Any], str], str] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __call__(self, app: Flask, *, broker: RecordingBroker | None = None) -> None:
        """Try the check in an application, or skip the test.

        :param broker: A fake that receives what the model's send methods publish.
        """
        __tracebackhide__ = True
        harness = Harness(
            self.model, app, rows=self.rows, broker=broker, release=self.release
        )
        try:
            obstacle = obstacle_to(self.check, harness)
            if not obstacle:
                run(self.check, harness)
        except CannotCheck as exc:
            obstacle = self._told_before(exc)
            if not obstacle:
                raise
        if obstacle and self.require_all:
            raise CannotCheck(f"'{self.check.name}' {obstacle}; all are required.")
        if obstacle:
            pytest.skip(obstacle)

    def _told_before(self, exc: CannotCheck) -> str:
        """Return which other check has said the same, apart from numbers."""
        trouble = (self.model, re.sub(r"0x[0-9a-f]+|\d+", "#", str(exc)))
        first = self.told.setdefault(trouble, self.check.name)
        return blocked_by(first, "error") if first != self.check.name else ""


def parametrize_signal_models(
    db: SQLAlchemy,
    *,
    rows: Rows | None = None,
    expected_failures: Expected | None = None,
    checks: str | None = None,
    advice: bool = False,
    require_all: bool = False,
) -> pytest.MarkDecorator:
    """Call a test with every check of every signal model.

    The test has a parameter ``check``, and calls it with the application. Import
    the modules of all models before.

    :param rows: Makes the i-th row of a model, where the sample rows are no good:
        functions of the number by the models, or one function of model and number.
    :param expected_failures: Reasons why a model does not pass a check; it must
        indeed fail, or else the test does.
    :param checks: A release, like ``"1.0"``: only the checks that it had, so that
        an upgrade brings no new ones.
    :param advice: Whether to include the checks that are mere advice.
    :param require_all: Whether a check that cannot be tried is an error.
    :raises ValueError: If there are no signal models, or a name is not known.

    .. versionadded:: 1.0
    .. versionchanged:: 1.1
        ``rows`` may be one function for all models.
    """
    expected_failures = expected_failures or {}
    models = signal_models(db)
    if not models:
        raise ValueError("There are no signal models; import their modules first.")

    chosen = all_checks(checks, advice=advice)
    factories = _factories(models, rows or {})
    _validate(models, chosen, factories, expected_failures)
    told: dict[tuple[type[Any], str], str] = {}
    names = Counter(model.__name__ for model in models)
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                ModelCheck(
                    model,
                    check,
                    factories.get(model),
                    require_all,
                    checks,
                    db.session,
                    told,
                ),
                id=_id(model, check, is_unique=names[model.__name__] == 1),
                marks=_marks(expected_failures.get((model, check.name))),
            )
            for model in models
            for check in chosen.values()
            if concerns(check, model)
        ],
    )


def _factories(
    models: Iterable[type[Any]], rows: Rows
) -> Mapping[type[Any], RowFactory]:
    if isinstance(rows, Mapping):
        return rows

    return {model: partial(rows, model) for model in models}


def _validate(
    models: Collection[type[Any]],
    chosen: Mapping[str, Check],
    rows: Mapping[type[Any], RowFactory],
    expected_failures: Expected,
) -> None:
    for model in [*rows, *(model for model, _ in expected_failures)]:
        if model not in models:
            raise ValueError(f"'{full_name(model)}' is not a signal model.")

    for (model, name), reason in expected_failures.items():
        if name not in chosen or not concerns(chosen[name], model):
            raise ValueError(f"'{model.__name__}' has no check named '{name}'.")
        if not reason.strip():
            raise ValueError(
                f"The failure of '{name}' for '{model.__name__}' is expected without "
                f"a reason."
            )


def _id(model: type[Any], check: Check, *, is_unique: bool) -> str:
    name = model.__name__ if is_unique else full_name(model)
    return f"{name}-{check.name.removeprefix('check_')}"


def _marks(reason: str | None) -> list[pytest.MarkDecorator]:
    if reason is None:
        return []

    return [pytest.mark.xfail(strict=True, raises=ConformanceFailure, reason=reason)]
