"""What is published has what it names, and says where it comes from in one place."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)

#: What the workflow that publishes asks for.
LINKS = ["Documentation", "Source", "Changelog", "Issues"]


def named_files() -> list[str]:
    """Return the files and folders of the project that the README names.

    What its commands have made, such as ``.tox``, is none of them.
    """
    literals = re.findall(r"``([\w./-]+)``", README)
    made = (".tox/", ".venv/")
    return [
        name
        for name in literals
        if (ROOT / name).exists() and not name.startswith(made)
    ]


def test_the_source_distribution_has_what_the_readme_names() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    tops = {name.partition("/")[0] for name in (*named_files(), "Makefile")}

    assert {"docs", "examples", "CHANGES.rst", ".github"} <= tops
    assert {f"/{top}" for top in tops} <= set(included)


def test_what_is_included_is_there() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    assert [name for name in included if not (ROOT / name[1:]).exists()] == []


def test_links_are_all_there_or_none_is() -> None:
    """A placeholder would be worse than none (the owner fills them in)."""
    links: dict[str, str] = PROJECT["project"].get("urls", {})
    publishing = (ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8")

    assert list(links) in ([], LINKS)
    assert all(link.startswith("https://") for link in links.values())
    assert not any("example" in link for link in links.values())
    assert f"for name in {' '.join(LINKS)}; do" in publishing


def test_the_version_is_the_one_whose_changes_are_listed_first() -> None:
    """Whoever installs what is here can tell it from the last release."""
    changes = (ROOT / "CHANGES.rst").read_text(encoding="utf-8")

    first = re.search(r"^Version (\S+)$", changes, re.M)

    assert first is not None
    assert PROJECT["project"]["version"] == first[1]
