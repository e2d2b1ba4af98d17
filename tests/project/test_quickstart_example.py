"""The example application does what its README shows."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "quickstart"


def copy_example(destination: Path) -> Path:
    """Copy the example, without what earlier runs have left."""
    return shutil.copytree(
        EXAMPLE, destination, ignore=shutil.ignore_patterns("instance", "__pycache__")
    )


@pytest.fixture(name="example")
def example_fixture(tmp_path: Path) -> Path:
    return copy_example(tmp_path / "quickstart")


@pytest.fixture(name="walked_example", scope="module")
def walked_example_fixture(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """Return a copy of the example after a run of the demo, and what that printed."""
    example = copy_example(tmp_path_factory.mktemp("walked") / "quickstart")
    done = run_demo(example)

    assert (done.returncode, done.stderr) == (0, "")
    return example, done.stdout


def run_demo(example: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example / "demo.py")],
        capture_output=True,
        text=True,
        check=False,
    )


def flask(example: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "shop", *arguments],
        cwd=example,
        capture_output=True,
        text=True,
        check=False,
    )


def sent_messages(example: Path) -> list[str]:
    outbox = example / "instance" / "outbox.log"
    return outbox.read_text(encoding="utf-8").splitlines() if outbox.exists() else []


def test_the_demo_prints_what_the_readme_of_the_example_shows(
    walked_example: tuple[Path, str],
) -> None:
    _, printed = walked_example
    readme = (EXAMPLE / "README.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^    (.*)$", readme, re.MULTILINE)

    # Looking for a line in an iterator uses it up, so the order counts.
    rest = iter(printed.splitlines())
    assert shown
    assert next((line for line in shown if line not in rest), None) is None


def test_the_demo_can_be_repeated(walked_example: tuple[Path, str]) -> None:
    example, printed = walked_example

    assert run_demo(example).stdout == printed


def test_every_order_is_announced_once_by_each_signal(
    walked_example: tuple[Path, str],
) -> None:
    example, _ = walked_example

    announced = re.findall(r"(\w+): order (\d+),", "\n".join(sent_messages(example)))

    assert sorted(announced) == sorted(
        (name, str(order))
        for name in ("InvoiceIssued", "OrderPlaced")
        for order in range(1, 122)
    )


def test_orders_are_announced_to_the_warehouse_in_bulk(
    walked_example: tuple[Path, str],
) -> None:
    example, _ = walked_example

    ends = [line for line in sent_messages(example) if "OrderPlaced" in line]

    assert ends[99].startswith("[100 of 100] ")
    assert ends[120].startswith("[ 21 of  21] ")


def test_a_refused_order_sends_nothing(example: Path) -> None:
    flask(example, "create-tables")

    refused = flask(example, "place-order", "dave@example.com", "1000")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert flask(example, "signalbus", "flushmany").returncode == 0
    assert sent_messages(example) == []


def test_the_demo_stops_when_a_command_does_not_end_as_told(example: Path) -> None:
    (example / "shop" / "models.py").unlink()

    done = run_demo(example)

    assert done.returncode == 1
    assert "demo: exit status" in done.stderr
