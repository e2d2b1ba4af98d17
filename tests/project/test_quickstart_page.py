"""Copy the files of the quickstart, type its commands, and see what it shows."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.rst"
TEXT = PAGE.read_text(encoding="utf-8")

#: What is said of files: nothing that leaves a part of one out.
INCLUDE = re.compile(r"\.\. literalinclude:: (\S+)\n    :caption: (\S+)\n\n")

#: They need a network.
NOT_RUN = ("python3 -m venv", ". .venv", "pip install")
#: It would need somebody to end it.
WORKER = " --repeat 5"


def commands() -> list[tuple[str, list[str]]]:
    """Return the commands of the page in their order, and what each one shows."""
    blocks = re.findall(r"^\.\. code-block:: console\n\n((?:    .*\n)+)", TEXT, re.M)
    sessions = "\n".join(map(textwrap.dedent, blocks))
    parts = re.split(r"^\$ ", sessions, flags=re.M)[1:]
    lines = [part.strip("\n").splitlines() for part in parts]
    return [(first, shown) for first, *shown in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the page shows, and no others."""
    for included, name in INCLUDE.findall(TEXT):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((PAGE.parent / included).read_text("utf-8"))
    return tmp_path


def test_the_commands_print_what_the_page_shows(folder: Path) -> None:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SHOP_", "FLASK_", "PYTEST_", "PYTHON", "COV_"))
    }
    # The page has activated a virtual environment.
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"

    for command, shown in commands():
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environ[name] = value
        elif not command.startswith(NOT_RUN):
            done = subprocess.run(
                shlex.split(command.removesuffix(WORKER)),
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            # Looking for a line in an iterator uses it up, so the order counts.
            printed = iter(done.stdout.splitlines())
            missing = [line for line in shown if line not in printed]
            assert missing == [], f"{command}:\n{done.stdout}"
            assert done.returncode == ("BrokerRefused" in done.stdout), command


def test_the_page_shows_each_file_whole() -> None:
    example = PAGE.parent.parent / "examples" / "quickstart"
    shown = [name for _, name in INCLUDE.findall(TEXT)]

    files = [*example.glob("shop/*.py"), *example.glob("tests/*.py")]
    assert sorted(shown) == sorted(str(f.relative_to(example)) for f in files)
    assert TEXT.count("literalinclude::") == len(shown)
