"""The kit as its users get it: from the wheel, elsewhere, among other plugins.

This is no part of the suite: it is run by ``tox -e kit-from-wheel``, which installs the
wheel, pytest-xdist, pytest-flask and pytest-django.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import swpt_pythonlib.flask_signalbus

EXAMPLE = Path(__file__).parents[2] / "examples" / "downstream"
NO_PLUGINS = ("-p", "no:xdist", "-p", "no:pytest-flask", "-p", "no:django")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the example, far from this checkout."""
    return shutil.copytree(
        EXAMPLE,
        tmp_path / "empty" / "app",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def run_suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "PYTHON", "DATABASE_URL"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_comes_from_the_wheel() -> None:
    (package,) = swpt_pythonlib.flask_signalbus.__path__

    assert Path(package).is_relative_to(sysconfig.get_path("purelib"))
    assert (Path(package) / "py.typed").exists()


def test_the_wheel_registers_nothing_with_pytest() -> None:
    plugins = entry_points(group="pytest11")

    assert [plugin.name for plugin in plugins if "signalbus" in plugin.value] == []


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(NO_PLUGINS, id="alone"),
        pytest.param((), id="beside pytest-flask and pytest-django"),
        pytest.param(("-n", "2"), id="under xdist"),
    ],
)
def test_the_suite_of_an_application_passes(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = run_suite(folder, *arguments)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "signal models: 3 models, " in done.stdout


def test_the_other_plugins_are_there(folder: Path) -> None:
    """Or else the test above proves nothing."""
    done = run_suite(folder, "--collect-only", "-q", "--trace-config")

    for plugin in ("pytest_flask", "pytest_django", "xdist"):
        assert plugin in done.stdout
