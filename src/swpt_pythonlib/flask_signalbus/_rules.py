"""What a rule is, of which a signal model can break some."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from ._models import Model


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
