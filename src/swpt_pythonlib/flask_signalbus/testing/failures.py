"""How a check reports: what it found, what it expected, and why that matters."""

from __future__ import annotations

from .._rules import Fault


class ConformanceFailure(AssertionError):
    """A signal model, or the bus below it, breaks a rule that keeps messages safe.

    The message names the model and the check, and says what was found, what was
    expected, why it matters, and where to read on.

    .. versionadded:: 1.0
    """


class CannotCheck(RuntimeError):
    """The test suite is set up in a way that makes a check meaningless.

    It is not a :exc:`ConformanceFailure`, so that no expected failure hides it.

    .. versionadded:: 1.0
    """


class Finding(Exception):
    """What a check found; whoever runs the check adds the model and the reason.

    :param brief: What to say of it where other checks are blocked by it.
    :param why: Why it matters, if for another reason than the check gives.
    """

    def __init__(self, fault: Fault, brief: str = "", why: str = "") -> None:
        super().__init__(fault.found)
        self.fault = fault
        self.brief = brief
        self.why = why


def expect(
    holds: bool, *, found: str, expected: str, hint: str = "", brief: str = ""
) -> None:
    """Raise a finding unless the expectation holds."""
    if not holds:
        raise Finding(Fault(found, expected, hint), brief)
