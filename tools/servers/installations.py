"""Where the programs of a server are, and whether they are the right ones."""

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from servers.errors import ServerUnavailable
from servers.kinds import Software, recognise, version_numbers


@dataclass(frozen=True)
class Installation:
    """The programs of one server, by name, and the version they tell."""

    programs: Mapping[str, Path]
    version: str

    @property
    def prefix(self) -> Path:
        """The folder above the programs; what MariaDB calls its basedir."""
        return next(iter(self.programs.values())).parent.parent


@dataclass(frozen=True)
class Search:
    """What a search for programs found, and why it took nothing else."""

    found: Installation | None
    rejected: tuple[str, ...]


def installed(kind: Software, environ: Mapping[str, str]) -> Search:
    """Look for the programs of a kind of server on this machine.

    :raises ServerUnavailable: If the environment names a folder of programs that
        are missing or are another server's. Nothing else is tried then: it would
        not be what was asked for.
    """
    variable = f"{kind.variable}_BINDIR"
    if variable not in environ:
        return _search(kind, list(_usual_folders(kind, environ)))

    folder = Path(environ[variable])
    search = _search(kind, [folder])
    if search.found is None:
        raise ServerUnavailable(
            f"{variable} is {str(folder)!r}, but {'; '.join(search.rejected)}. "
            f"Name the folder with the programs of {kind.name}, or unset {variable}."
        )
    return search


def installation_in(kind: Software, folder: Path) -> Installation:
    """Return the programs in one folder, which are expected to be there."""
    search = _search(kind, [folder])
    if search.found is None:
        raise ServerUnavailable(f"{'; '.join(search.rejected)}.")

    return search.found


def _search(kind: Software, folders: list[Path]) -> Search:
    rejected: list[str] = []
    for folder in folders:
        answer = _inspect(kind, folder)
        if isinstance(answer, Installation):
            return Search(answer, tuple(rejected))
        rejected.append(answer)
    return Search(None, tuple(dict.fromkeys(rejected)))


def _inspect(kind: Software, folder: Path) -> Installation | str:
    """Return the installation in a folder, or the reason why there is none."""
    programs = {name: _program(folder, name) for name in kind.programs}
    programs |= {name: _helper(folder, name) for name in kind.helpers}
    present = {name: path for name, path in programs.items() if path is not None}
    if len(present) < len(programs):
        missing = [name for name in programs if name not in present]
        return f"{folder} has no {' and no '.join(missing)}"

    server = present[kind.programs[0]]
    told = str(server.resolve()) if kind.has_version_in_path else _ask_version(server)
    version = kind.version_in(told)
    if version is None:
        return f"{server} is {recognise(told)}"
    if version_numbers(version) < kind.oldest:
        return f"{server} is only {version}"
    return Installation(present, version)


def _program(folder: Path, name: str) -> Path | None:
    candidates = (place / name for place in (folder, *_beside(folder)))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def _helper(folder: Path, name: str) -> Path | None:
    on_path = shutil.which(name)
    return _program(folder, name) or (Path(on_path) if on_path else None)


def _beside(folder: Path) -> list[Path]:
    # Debian puts a server into sbin and what prepares its data folder into bin.
    names = ["sbin", "bin"] if folder.name in ("sbin", "bin") else []
    return [folder.with_name(name) for name in names]


def _ask_version(server: Path) -> str:
    try:
        done = subprocess.run(
            [server, "--version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unable to tell its version ({error})"

    return done.stdout or done.stderr


def _usual_folders(kind: Software, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield each folder that may have the programs once, the newest version first."""
    on_path = environ.get("PATH", "").split(os.pathsep)
    patterns = [*filter(None, on_path), *kind.places]
    for pattern in dict.fromkeys(patterns):
        for folder in sorted(glob.glob(pattern), key=_numbers_in, reverse=True):
            yield Path(folder)


def _numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
