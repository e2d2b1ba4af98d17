"""Where the Pythons are for which the package is meant, and which are missing."""

import glob
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from servers.errors import ServerUnavailable
from servers.provision import Say, programs_folder, provision
from servers.recipes import python_recipe

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (\d+\.\d+)$")
_ASK = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"

#: Where others than the system keep Pythons, beside the folders of PATH.
_PLACES = (
    "{pyenv}/versions/{version}.*/bin",
    "{home}/.local/share/uv/python/cpython-{version}.*/bin",
    "/usr/local/bin",
)


def promised() -> list[str]:
    """Return the versions of Python that the metadata of the package names."""
    metadata = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    found = map(_CLASSIFIER.match, metadata["project"]["classifiers"])
    return [match[1] for match in found if match]


def python_for(version: str, environ: Mapping[str, str], say: Say) -> Path:
    """Return a Python; fetch it if it isn't installed.

    :raises ServerUnavailable: If it can't be had.
    """
    for folder in _folders(version, environ):
        path = folder / f"python{version}"
        # A shim of pyenv is there for each Python, whether it's switched on or not.
        told, _, executable = _ask(path) if os.access(path, os.X_OK) else ("", "", "")
        if told == version:
            return Path(executable)

    recipe = python_recipe(version)
    try:
        root = provision(recipe, environ, say)
    except ServerUnavailable as error:
        raise ServerUnavailable(f"Python {version} isn't installed; {error}") from error

    return programs_folder(recipe, root) / f"python{version}"


def _folders(version: str, environ: Mapping[str, str]) -> Iterator[Path]:
    yield from map(Path, filter(None, environ.get("PATH", "").split(os.pathsep)))

    home = environ.get("HOME", "/nowhere")
    pyenv = environ.get("PYENV_ROOT") or f"{home}/.pyenv"
    for place in _PLACES:
        pattern = place.format(pyenv=pyenv, home=home, version=version)
        yield from map(Path, sorted(glob.glob(pattern), reverse=True))


def _ask(path: Path) -> tuple[str, str, str]:
    done = subprocess.run([path, "-c", _ASK], capture_output=True, text=True)
    return done.stdout.strip().partition(" ")
