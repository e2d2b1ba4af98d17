"""The environment in which flask-signalbus 0.5.20 runs."""

import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("predecessor.txt")


def environment(folder: Path) -> str:
    """Return the Python of the environment; make it if it is not there yet."""
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return str(python)

    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    installed.write_text(wanted)
    return str(python)
