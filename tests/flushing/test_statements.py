"""The SQL of a claim: what the source and the documentation show is executed."""

import inspect

import pytest

from support import sql
from swpt_pythonlib.flask_signalbus import _strategies
from swpt_pythonlib.flask_signalbus._dialects import Strategy

pytestmark = pytest.mark.once


def shown_in_source(strategy: Strategy) -> str:
    builder = _strategies._BUILDERS[strategy]
    paragraphs = (inspect.getdoc(builder) or "").partition("::\n\n")[2].split("\n\n")
    return " ".join(
        sql.folded(paragraph)
        for paragraph in paragraphs
        if paragraph.startswith("    ")
    )


@pytest.mark.parametrize("strategy", Strategy, ids=lambda strategy: strategy.name)
def test_the_docstring_of_a_strategy_is_the_sql_that_it_executes(
    strategy: Strategy,
) -> None:
    """F3: a reader sees what is claimed and deleted, and how."""
    executed = sql.statements(strategy, sql.Single, "next")

    assert shown_in_source(strategy) == " ".join(map(sql.folded, executed))


def test_the_documentation_shows_the_sql_of_every_claim() -> None:
    """F3, F12: run ``make generated`` if this fails, and read what has changed."""
    written = sql.GENERATED.read_text(encoding="utf-8")

    assert written == sql.rendered()
