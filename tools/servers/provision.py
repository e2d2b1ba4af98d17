"""How servers that aren't installed get into a cache folder, ready to run."""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from servers import debian
from servers.errors import ServerUnavailable
from servers.recipes import Recipe

Say = Callable[[str], None]

CACHE_VARIABLE = "SIGNALBUS_TEST_CACHE"
_FOLDER_NAME = "swpt-flask-signalbus"
_COMPLETE = "complete"

# Newer servers need a newer C library than the machine's, which only a newer loader
# can load. PostgreSQL finds its files by the name under which it was called, and a
# Python the virtual environment that it belongs to.
_WRAPPER = """\
#!/bin/sh
exec {loader} --library-path {libraries} --argv0 "$0" {program}.real "$@" {options}
"""

# A program that starts itself again would start the loader. It takes the machine's.
_SETTING = """\
#!/bin/sh
LD_LIBRARY_PATH={libraries} {settings} exec {program}.real "$@"
"""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for what is fetched; servers' accounts may enter it."""
    if CACHE_VARIABLE in environ:
        return Path(environ[CACHE_VARIABLE]).resolve()
    # Nobody else may enter the home folder of root.
    if os.geteuid() == 0:
        return Path("/var/cache") / _FOLDER_NAME

    home = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / _FOLDER_NAME


def provisioned(recipe: Recipe, environ: Mapping[str, str]) -> Path | None:
    """Return the folder of something already fetched, ``None`` if it isn't."""
    root = _root_of(recipe, environ)
    stamp = root / _COMPLETE
    if not stamp.exists() or stamp.read_text() != _fingerprint(recipe):
        return None

    return root


def provision(recipe: Recipe, environ: Mapping[str, str], say: Say) -> Path:
    """Fetch something unless it's there; return its folder.

    :param say: Called with each step in words.
    :raises ServerUnavailable: If it can't be fetched.
    """
    root = _root_of(recipe, environ)
    root.parent.mkdir(parents=True, exist_ok=True)
    with _alone(root.parent / f"{recipe.name}.lock"):
        present = provisioned(recipe, environ)
        if present is not None:
            return present

        _fetch(recipe, root, say)
    return root


def programs_folder(recipe: Recipe, root: Path) -> Path:
    """Return the folder of the programs that a recipe brought."""
    return next(root.glob(recipe.folder))


def _fetch(recipe: Recipe, root: Path, say: Say) -> None:
    release = "Debian unstable" if recipe.unstable else "this machine's release"
    say(f"{recipe.name}: asking apt for {', '.join(recipe.packages)} of {release}")
    work = root.with_name(f"{recipe.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
    try:
        apt = debian.Apt(work / "apt", unstable=recipe.unstable)
        apt.update()
        names = apt.needed_for(recipe.packages)
        wanted = [name for name in names if re.match(recipe.wanted, name)]
        say(f"{recipe.name}: downloading {len(wanted)} packages")
        for package in apt.download(wanted, work / "packages"):
            debian.unpack(package, work / "root")
    except ServerUnavailable as error:
        raise ServerUnavailable(
            f"{recipe.name} could not be fetched from Debian's archive: {error}"
        ) from error

    (work / "root").rename(root)
    shutil.rmtree(work)
    for program in recipe.wrapped:
        _wrap(programs_folder(recipe, root), program, root, recipe)
    for program, settings in recipe.settings.items():
        _set(programs_folder(recipe, root) / program, root, settings)
    for name, built_for in recipe.moved.items():
        script = (root / name).resolve()
        script.write_text(script.read_text().replace(built_for, f"{root}{built_for}"))
    for name in recipe.linked:
        (programs_folder(recipe, root) / Path(name).name).symlink_to(root / name)
    (root / _COMPLETE).write_text(_fingerprint(recipe))
    say(f"{recipe.name}: ready in {root}")


def _wrap(folder: Path, name: str, root: Path, recipe: Recipe) -> None:
    """Replace a program by a script that runs it with the libraries beside it."""
    folders = (folder, folder.parent / "bin", folder.parent / "sbin")
    program = next(place / name for place in folders if (place / name).exists())
    loader = next(root.glob("**/lib/*-linux-gnu*/ld-linux*.so.*"))
    script = _WRAPPER.format(
        loader=shlex.quote(str(loader)),
        libraries=_libraries(root),
        program=shlex.quote(str(program)),
        options=recipe.options.get(name, "").format(root=shlex.quote(str(root))),
    )
    _replace(program, script)


def _set(program: Path, root: Path, settings: str) -> None:
    """Replace a program by a script that tells it where its libraries are."""
    script = _SETTING.format(
        libraries=_libraries(root),
        settings=settings.format(root=shlex.quote(str(root))),
        program=shlex.quote(str(program)),
    )
    _replace(program, script)


def _replace(program: Path, script: str) -> None:
    program.rename(f"{program}.real")
    program.write_text(script)
    program.chmod(0o755)


def _libraries(root: Path) -> str:
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return shlex.quote(":".join(map(str, folders)))


def _root_of(recipe: Recipe, environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / recipe.name


def _fingerprint(recipe: Recipe) -> str:
    text = f"{_WRAPPER}{recipe}{recipe.moved or ''}{recipe.linked or ''}"
    if recipe.settings:
        text += f"{_SETTING}{recipe.settings}"
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let other processes wait that would fetch the same thing."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
