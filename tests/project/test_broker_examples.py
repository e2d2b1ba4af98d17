"""The examples with a broker differ in what they say to it, and in nothing else."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"
BROKERS = ("rabbitmq", "redis", "nats")
PAGE = EXAMPLES.parent / "docs" / "brokers.rst"
OWN_FILES = {"README.rst", "shop/broker.py"}


def files_of(name: str) -> dict[str, str]:
    """Return the texts of the files of an example."""
    example = EXAMPLES / name
    return {
        str(path.relative_to(example)): path.read_text(encoding="utf-8")
        for path in sorted(example.rglob("*"))
        if path.suffix in {".py", ".ini", ".rst"}
    }


@pytest.mark.parametrize("name", BROKERS[1:])
def test_what_the_examples_share_is_the_same(name: str) -> None:
    first, other = files_of(BROKERS[0]), files_of(name)

    differing = {path for path in first | other if first.get(path) != other.get(path)}

    assert differing == OWN_FILES


@pytest.mark.parametrize("name", BROKERS)
def test_the_page_shows_all_that_has_to_be_copied(name: str) -> None:
    """With the imports, or else the first line that is run is a NameError."""
    page = PAGE.read_text(encoding="utf-8")
    whole = r"literalinclude:: \.\./examples/(\S+)\n    :caption: \S+\n\n"
    common = {"rabbitmq/shop/messages.py", "rabbitmq/shop/models.py"}

    shown = set(re.findall(whole, page))

    assert {f"{name}/shop/broker.py", *common} <= shown
