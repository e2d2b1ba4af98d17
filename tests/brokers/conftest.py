"""Fixtures: a real broker, and the example that sends over it.

``SIGNALBUS_TEST_BROKER`` names the broker. These tests take minutes, so they are run by
cells of their own, and only when they are asked for: ``pytest tests/brokers``.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from brokers.shops import EXAMPLES, Shop
from servers.brokers import BROKERS, PrivateBroker, given_url, private_broker
from servers.errors import ServerUnavailable

_ASKED = os.environ.get("SIGNALBUS_TEST_BROKER", "")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out, and say so, what cannot be done to a broker that is somebody's."""
    if _ASKED not in BROKERS:
        raise pytest.UsageError(
            f"SIGNALBUS_TEST_BROKER is {_ASKED!r}; it must name one of "
            f"{', '.join(BROKERS)}."
        )

    variable = f"{BROKERS[_ASKED].variable}_URL"
    if os.environ.get(variable):
        left_out = [item for item in items if "private" in item.fixturenames]  # type: ignore[attr-defined]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.get_terminal_writer().line(
            f"NOT RUN: {len(left_out)} tests that would stop or kill the broker of "
            f"{variable}; unset it to have a private one started."
        )


@pytest.fixture(scope="session")
def broker_name() -> str:
    """Return the name of the broker of this run."""
    return _ASKED


@pytest.fixture(scope="session")
def _broker() -> Iterator[PrivateBroker | str]:
    with ExitStack() as cleanup:
        try:
            url = given_url(BROKERS[_ASKED], os.environ)
            broker = url or cleanup.enter_context(
                private_broker(_ASKED, os.environ, print)
            )
        except ServerUnavailable as error:
            pytest.exit(str(error), returncode=4)
        yield broker


@pytest.fixture
def private(_broker: PrivateBroker | str) -> Iterator[PrivateBroker]:
    """Return the broker, to stop it or to kill it; it runs again in the end."""
    assert isinstance(_broker, PrivateBroker)
    yield _broker
    if _broker.is_running:
        _broker.thaw()
    else:
        _broker.start()


@pytest.fixture(scope="session")
def broker_url(_broker: PrivateBroker | str) -> str:
    """Return where the broker is."""
    return _broker if isinstance(_broker, str) else _broker.url


@pytest.fixture(scope="session")
def client() -> Any:
    """Return the module of the example that talks to the broker."""
    sys.path.insert(0, str(EXAMPLES / _ASKED))
    return importlib.import_module("shop.broker")


@pytest.fixture
def shop(
    client: Any, broker_url: str, new_database: Callable[[], str], tmp_path: Path
) -> Iterator[Shop]:
    """Return the example, with a database and a warehouse of its own."""
    shop = Shop(client, EXAMPLES / _ASKED, broker_url, new_database(), tmp_path)
    yield shop
    shop.close()
