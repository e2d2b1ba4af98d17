"""The examples with a broker do what their pages show."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brokers.shops import EXAMPLES


def test_the_suite_of_the_example_passes(broker_name: str, tmp_path: Path) -> None:
    example = shutil.copytree(
        EXAMPLES / broker_name,
        tmp_path / broker_name,
        ignore=shutil.ignore_patterns("__pycache__", "instance"),
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=example,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "signal models: 1 models, " in done.stdout


@pytest.mark.usefixtures("private")
def test_the_demo_prints_what_the_readme_of_the_example_shows(broker_name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "broker_demo.py", broker_name],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )
    readme = (EXAMPLES / broker_name / "README.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^    (.*)$", readme, re.MULTILINE)

    # Looking for a line in an iterator uses it up, so the order counts.
    rest = iter(done.stdout.splitlines())
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown
    assert next((line for line in shown if line not in rest), None) is None
