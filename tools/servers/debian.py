"""How packages are fetched from Debian without being installed.

apt does the downloading and checks the signatures. Its lists, its idea of what is
installed (nothing) and what it fetches are kept in a folder of our own, so neither
root's help nor the machine's package database is needed.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers.errors import ServerUnavailable

_KEYRING = "/usr/share/keyrings/{}-archive-keyring.gpg"
_SECONDS = 900

# Hooks of the machine would act on the machine's own package lists.
_CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
"""


class Apt:
    """apt, with a folder of its own and the packages of one release of Debian.

    :param state: The folder; made if it isn't there.
    :param unstable: Take the packages from Debian unstable instead of the release
        that this machine runs.
    """

    def __init__(self, state: Path, *, unstable: bool) -> None:
        missing = [name for name in ("apt-get", "dpkg") if not shutil.which(name)]
        if missing:
            raise ServerUnavailable(f"this machine has no {' and no '.join(missing)}")

        for folder in ("lists/partial", "cache/archives/partial"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "sources.list").write_text("\n".join(_sources(unstable)) + "\n")
        self._configuration = state / "apt.conf"
        self._configuration.write_text(_CONFIGURATION.format(state=state))

    def update(self) -> None:
        """Read the lists of packages."""
        # Without the option, apt calls lists that it couldn't fetch a success.
        self._run("-o", "APT::Update::Error-Mode=any", "update")

    def needed_for(self, packages: Sequence[str]) -> list[str]:
        """Return the names of packages and of everything they depend on."""
        plan = self._run("--simulate", "install", *packages)
        return re.findall(r"^Inst (\S+)", plan, re.MULTILINE)

    def download(self, packages: Sequence[str], folder: Path) -> list[Path]:
        """Download packages; return their files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run("download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _run(self, *arguments: str, cwd: Path | None = None) -> str:
        command = ["apt-get", "--config-file", str(self._configuration), *arguments]
        return run(command, cwd=cwd)


def unpack(package: Path, root: Path) -> None:
    """Put the files of a package into a folder; run none of its scripts."""
    run(["dpkg", "--extract", str(package), str(root)])


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode != 0:
        raise ServerUnavailable(
            f"'{' '.join(command[:4])} …' failed: {done.stderr.strip()[-2000:]}"
        )

    return done.stdout


def _sources(unstable: bool) -> list[str]:
    """Return the lines of a sources.list, from where this machine has its packages."""
    system = platform.freedesktop_os_release()
    archives = _archives_of(system.get("VERSION_CODENAME", "sid"))
    if not archives:
        raise ServerUnavailable(
            f"apt of this machine knows no archive of {system['PRETTY_NAME']}"
        )
    if unstable and system["ID"] != "debian":
        raise ServerUnavailable(
            f"Debian has the packages, but this machine runs {system['PRETTY_NAME']}"
        )

    keyring = Path(_KEYRING.format(system["ID"]))
    options = f"[signed-by={keyring}] " if keyring.exists() else ""
    if unstable:
        archives = [(archives[0][0], "sid", "main")]
    return [f"deb {options}{' '.join(archive)}" for archive in archives]


def _archives_of(codename: str) -> list[tuple[str, str, str]]:
    """Return address, release and component of the archives that apt knows."""
    targets = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    )
    releases = (codename, f"{codename}-updates", f"{codename}-security")
    archives = set()
    for line in targets.splitlines():
        address, release, component = line.split()
        if release in releases:
            archives.add((address, release, component))
    return sorted(archives, key=lambda archive: (releases.index(archive[1]), archive))
