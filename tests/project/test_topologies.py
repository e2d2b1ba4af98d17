"""X1: the page on topologies promises what is tested, and nothing else."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "topologies.rst"
TOX = TESTS.parent / "tox.ini"

pytestmark = pytest.mark.once


def modules() -> list[Path]:
    return sorted((TESTS / "topologies").glob("test_*.py"))


def existing_tests() -> list[str]:
    """Return the names of all tests of topologies."""
    return sorted(
        node.name
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_each_row_of_the_page_is_one_of_the_tests() -> None:
    cited = re.findall(r"``(test_\w+)``", PAGE.read_text(encoding="utf-8"))

    assert sorted(cited) == existing_tests()


def test_each_module_is_a_cell_of_its_own() -> None:
    cells = re.findall(r"tests/topologies/(\S+)", TOX.read_text(encoding="utf-8"))

    assert sorted(cells) == [path.name for path in modules()]
