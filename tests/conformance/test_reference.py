"""The documentation lists the checks as they are."""

from conformance.reference import PAGE, page


def test_the_documentation_lists_every_check() -> None:
    """If not, run ``python -m conformance.reference`` in the folder of the tests."""
    assert PAGE.read_text(encoding="utf-8") == page()
