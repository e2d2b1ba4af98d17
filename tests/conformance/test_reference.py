"""The documentation lists the checks as they are."""

from conformance.reference import PAGE, page


def test_the_documentation_lists_every_check() -> None:
    """If not, run ``make generated``."""
    assert PAGE.read_text(encoding="utf-8") == page()
