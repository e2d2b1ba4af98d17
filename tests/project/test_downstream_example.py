"""An application's own suite, which uses the kit, passes on every database."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "downstream"

HEALTHY = "broker.publish([message])"
BROKEN = """\
try:
            broker.publish([message])
        except broker.BrokerError:
            print("The message is lost.")"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return shutil.copytree(
        EXAMPLE, tmp_path / "downstream", ignore=shutil.ignore_patterns("__pycache__")
    )


def run_suite(
    example: Path, url: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=example,
        env=os.environ | {"DATABASE_URL": url, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_suite_of_the_example_passes(
    example: Path, new_database: Callable[[], str]
) -> None:
    done = run_suite(example, new_database())

    assert done.returncode == 0, done.stdout + done.stderr
    assert "signal models: 3 models, " in done.stdout
    assert " 1 xfailed" in done.stdout


def test_a_broken_send_method_is_explained(
    example: Path, new_database: Callable[[], str]
) -> None:
    """What went wrong can be told from the failure message alone."""
    models = example / "shop" / "models.py"
    models.write_text(models.read_text().replace(HEALTHY, BROKEN))

    done = run_suite(
        example,
        new_database(),
        "--tb=short",
        "tests/test_signals.py::test_signal_model"
        "[OrderPaid-single_send_propagates_broker_errors]",
    )

    message = [line[4:] for line in done.stdout.splitlines() if line.startswith("E  ")]
    assert done.returncode == 1
    assert message == [
        "swpt_pythonlib.flask_signalbus.testing.failures.ConformanceFailure: "
        "shop.models.OrderPaid does not conform: "
        "check_single_send_propagates_broker_errors",
        "  found:    send_signalbus_message returned though the broker refused the "
        "message",
        "  expected: an exception",
        "  why:      when it returns the row is deleted, so a swallowed error loses "
        "the message",
        "  docs:     testing.html#check-single-send-propagates-broker-errors",
    ]
