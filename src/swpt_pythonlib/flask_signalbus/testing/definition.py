"""What a check is: a plain function, and a record of what it needs and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .._reports import anchor_of
from .harness import Harness
from .subject import Need

Kind = Literal["static", "bus", "sender"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule for signal models, and the function that tries it.

    :param name: The name of the function.
    :param kind: ``"static"`` looks at the class only, ``"bus"`` flushes the model's
        table with its send methods replaced, ``"sender"`` calls the send methods.
    :param rule: The rule in a sentence.
    :param why: Why breaking the rule matters.
    :param after: The checks whose failure explains why this one would fail too.
    :param needs: What has to be there: ``"broker"``, ``"second_connection"``,
        ``"row_locks"``.
    :param of_bulk_sender: Whether it only concerns models with a bulk sender.
    :param is_advice: Whether it is off unless asked for.
    :param since: The release that brought the check.
    :param records: Whether it records rows; without, it only looks.

    .. versionadded:: 1.0
    .. versionchanged:: 1.1
        Added ``records`` and ``after``.
    """

    name: str
    kind: Kind
    run: Callable[[Harness], None]
    rule: str
    why: str
    needs: tuple[Need, ...] = ()
    of_bulk_sender: bool = False
    is_advice: bool = False
    since: str = "1.0"
    records: bool = True
    after: tuple[Check, ...] = ()

    @property
    def anchor(self) -> str:
        """Where the documentation explains the check."""
        return anchor_of(self.name)


def check(
    kind: Kind,
    *,
    why: str,
    needs: tuple[Need, ...] = (),
    of_bulk_sender: bool = False,
    is_advice: bool = False,
    since: str = "1.0",
    after: tuple[Check, ...] = (),
) -> Callable[[Callable[[Harness], None]], Check]:
    """Make a check of a function; its docstring is the rule."""

    def make(run: Callable[[Harness], None]) -> Check:
        return Check(
            name=run.__name__,
            kind=kind,
            run=run,
            rule=(run.__doc__ or "").strip(),
            why=why,
            needs=needs,
            of_bulk_sender=of_bulk_sender,
            is_advice=is_advice,
            since=since,
            after=after,
        )

    return make


def version_of(release: str) -> tuple[int, ...]:
    """Return a release like ``"1.0"`` in a form that compares.

    :raises ValueError: If it is not one.
    """
    try:
        return tuple(int(part) for part in release.split("."))
    except ValueError:
        raise ValueError(f"'{release}' is not a release like '1.0'.") from None
