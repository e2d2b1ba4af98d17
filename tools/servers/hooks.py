"""What the plugin asks of a suite: its table of what each database can do."""

from typing import Protocol

import pytest


class Row(Protocol):
    """What a suite says of one database."""

    @property
    def dialect(self) -> str:
        """The name of the database."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What the database can do."""

    @property
    def runs_once(self) -> bool:
        """Whether the tests that need no database are run here."""

    @property
    def missing(self) -> frozenset[str]:
        """Everything else that a test may require."""


@pytest.hookspec(firstresult=True)
def pytest_signalbus_row(dialect: str, version: str) -> Row:
    """Return what a database of a version, as ``"10.11.19"``, can do."""
    raise NotImplementedError
