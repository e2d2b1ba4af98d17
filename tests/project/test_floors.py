"""The source is ordered as the page on internals says: imports only go down."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "swpt_pythonlib" / "flask_signalbus"

pytestmark = pytest.mark.once


def modules_from_the_top() -> list[str]:
    """Return the modules in the order of the page, but for the kit."""
    page = (ROOT / "docs" / "internals.rst").read_text(encoding="utf-8")
    listing = page.partition(".. code-block:: text")[2].partition("\n\nA peculiarity")[
        0
    ]
    lines = re.findall(r"^ {4}(?:\w+)? +(\w+)  +\S", listing, re.MULTILINE)
    return [name for name in lines if name != "testing"]


def imported_by(module: str) -> Iterator[str]:
    """Yield the siblings that a module imports, wherever it does so."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [alias.name for alias in node.names]
            yield from [node.module.partition(".")[0]] if node.module else names


def test_the_page_lists_every_module() -> None:
    """Each once, and no others."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}

    assert sorted(modules_from_the_top()) == sorted(modules)


@pytest.mark.parametrize("module", modules_from_the_top())
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    """Nothing imports upward, inside a function or for its types either."""
    listed = modules_from_the_top()
    below = listed[listed.index(module) + 1 :]

    assert [name for name in imported_by(module) if name not in below] == []
