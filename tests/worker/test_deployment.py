"""The files for deployment are right, as far as one machine can tell (W1, W3)."""

import configparser
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from swpt_pythonlib.flask_signalbus.signalbus_cli import flushmany

FOLDER = Path(__file__).parents[2] / "examples" / "deployment"

pytestmark = pytest.mark.once


def parsed(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / name)
    return parser


def container() -> Any:
    text = (FOLDER / "kubernetes.yml").read_text(encoding="utf-8")
    (found,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    return found


def commands() -> dict[str, list[str]]:
    """Return the command of each file."""
    return {
        "systemd": shlex.split(parsed("signalbus.service")["Service"]["ExecStart"]),
        "supervisor": shlex.split(
            parsed("supervisor.conf")["program:signalbus"]["command"]
        ),
        "kubernetes": [*container()["command"], *container()["args"]],
    }


@pytest.mark.parametrize("name", ["systemd", "supervisor", "kubernetes"])
def test_the_command_has_the_options_that_there_are(name: str) -> None:
    """W3: and all of them repeat."""
    command = commands()[name]
    program, *_ = command

    context = flushmany.make_context(
        "flushmany", command[command.index("flushmany") + 1 :]
    )

    assert Path(program).name == "flask"
    assert context.params["repeat"] == 5.0
    assert context.params["signal_names"] == ()


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="NOT TESTED: this machine has no systemd-analyze.",
)
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """W1: but for the program, which is not on this machine."""
    text = (FOLDER / "signalbus.service").read_text(encoding="utf-8")
    unit = tmp_path / "signalbus.service"
    unit.write_text(text.replace("/srv/myapp/.venv/bin/flask", "/bin/true"))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if "signalbus" in line]
    assert complaints == []


def test_the_probe_of_kubernetes_tells_a_worker_that_turns_from_one_that_hangs(
    tmp_path: Path,
) -> None:
    """W3."""
    alive = tmp_path / "alive"
    command = [
        word.replace("/tmp/alive", str(alive))
        for word in container()["livenessProbe"]["exec"]["command"]
    ]

    def status() -> int:
        return subprocess.run(command, capture_output=True, check=False).returncode

    is_alive = [status() == 0]
    alive.touch()
    is_alive.append(status() == 0)
    long_ago = time.time() - 200
    os.utime(alive, (long_ago, long_ago))
    is_alive.append(status() == 0)

    assert is_alive == [False, True, False]
