"""The documentation lists the checks as they are."""

from conformance.reference import BLIND, PAGE, page
from swpt_pythonlib.flask_signalbus.testing import all_checks


def test_the_documentation_lists_every_check() -> None:
    """If not, run ``make generated``."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_documentation_says_what_a_check_of_the_sender_cannot_tell() -> None:
    checks = all_checks().values()

    assert set(BLIND) == {check.name for check in checks if check.kind == "sender"}
