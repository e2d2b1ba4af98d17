"""What the code of a sender asks of its rows, as far as that can be seen."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


def attributes_read(method: Callable[..., Any]) -> list[str]:
    """Return the attributes that a sender reads of a row, in the order of its code.

    What it reads in other functions, or of a name that it binds anew, is not seen; nor
    is anything if the code cannot be read.
    """
    code = _code_of(method)
    if code is None or len(code.args.args) < 2:
        return []

    argument = code.args.args[1].arg  # behind the class
    is_bound_once = _bindings(code).count(argument) == 1
    rows = {argument, *_names_of_items(code, argument)} if is_bound_once else set()
    return [
        node.attr
        for node in ast.walk(code)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in rows
    ]


def _code_of(method: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        source = inspect.getsource(inspect.unwrap(method))
        body = ast.parse(textwrap.dedent(source)).body
    except (OSError, TypeError, SyntaxError):
        return None

    return body[0] if body and isinstance(body[0], ast.FunctionDef) else None


def _bindings(code: ast.FunctionDef) -> list[str | None]:
    """Return each name as often as something binds it."""
    return [_bound_by(node) for node in ast.walk(code)]


def _bound_by(node: ast.AST) -> str | None:
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return node.id

    return None


def _names_of_items(code: ast.FunctionDef, argument: str) -> Iterator[str]:
    """Yield the names by which a loop over the argument calls its items."""
    bindings = _bindings(code)
    for node in ast.walk(code):
        if (
            isinstance(node, (ast.For, ast.comprehension))
            and isinstance(node.iter, ast.Name)
            and node.iter.id == argument
            and isinstance(node.target, ast.Name)
            and bindings.count(node.target.id) == 1
        ):
            yield node.target.id
