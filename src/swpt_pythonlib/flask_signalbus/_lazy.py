"""Whether the body of a function runs when the function is called."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any


def is_lazy(function: Callable[..., Any]) -> bool:
    """Tell whether the body of a function does not run when it is called."""
    return (
        iscoroutinefunction(function)
        or isgeneratorfunction(function)
        or isasyncgenfunction(function)
    )


def has_not_run(result: object) -> bool:
    """Tell from what a function has returned that its body has not run yet."""
    return isinstance(result, CoroutineType | GeneratorType | AsyncGeneratorType)
