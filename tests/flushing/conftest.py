"""Fixtures: another transaction."""

from collections.abc import Iterator

import pytest

from support.rivals import Rival


@pytest.fixture
def rival(tables: str) -> Iterator[Rival]:
    """Return another transaction, in a thread of its own."""
    rival = Rival(tables)
    yield rival
    rival.close()
