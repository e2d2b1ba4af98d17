"""Which failures have the same cause, and when a cause is over (W2, F18)."""

import logging

import pytest
from sqlalchemy.exc import OperationalError

from swpt_pythonlib.flask_signalbus._troubles import Troubles, cause_of

pytestmark = pytest.mark.once


class DriverError(Exception):
    """An error of a driver, with a code."""

    def __init__(self, code: str) -> None:
        super().__init__("something")
        self.pgcode = code


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def raised_elsewhere(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def of_database(code: str) -> Exception:
    return raised(OperationalError("SELECT", {}, DriverError(code)))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param(
            raised(ValueError("a")), raised(ValueError("b")), True, id="what it says"
        ),
        pytest.param(raised(ValueError()), raised(KeyError()), False, id="its class"),
        pytest.param(
            raised(ValueError()), raised_elsewhere(ValueError()), False, id="its place"
        ),
        pytest.param(of_database("25006"), of_database("25006"), True, id="same code"),
        pytest.param(of_database("25006"), of_database("53100"), False, id="its code"),
    ],
)
def test_what_matters_of_an_error(
    one: Exception, other: Exception, is_same: bool
) -> None:
    """F18."""
    assert (cause_of(one) == cause_of(other)) == is_same


def test_an_error_that_was_never_raised_has_a_cause_too() -> None:
    """F18."""
    assert cause_of(ValueError()).place is None


def test_a_cause_is_over_when_nothing_suffers_from_it_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """W2: two models may have the same name, so the full names count."""
    cause = cause_of(raised(ValueError()))
    troubles = Troubles()

    news = [troubles.add(cause, "a.Note"), troubles.add(cause, "b.Note")]
    troubles.end_all_but(set(), "a.Note")
    news.append(troubles.add(cause, "b.Note"))
    with caplog.at_level(logging.INFO):
        troubles.end_all_but({cause}, "b.Note")
        assert caplog.messages == []
        troubles.end_all_but(set(), "b.Note")

    assert news == [True, False, False]
    (message,) = caplog.messages
    assert message.startswith("Recovered from ValueError after 0.")
    assert troubles.add(cause, "b.Note")
