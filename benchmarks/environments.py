"""The environments of those that can't run in ours, or shall not: one for each."""

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.workers import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements")


def environment(name: str) -> str:
    """Return the Python of an environment; make it if it is not there yet."""
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = ROOT / "build" / "environments" / name
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    wanted = requirements.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return str(python)

    print(f"An environment for {name} is made.", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    installed.write_text(wanted)
    return str(python)
