"""How the driver mysqlclient, which comes as source only, gets into a virtualenv."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from servers.errors import ServerUnavailable
from servers.provision import Say, provision, provisioned
from servers.recipes import MYSQLCLIENT_HEADERS

#: Any of them has what mysqlclient is built against.
_LIBRARIES = ("mysqlclient", "mariadb", "libmariadb")


def obstacle() -> str | None:
    """Return why mysqlclient can't be built here, ``None`` if it can."""
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return (
            "mysqlclient can't be built: this machine has no C compiler. "
            "Install one, as Debian's package gcc."
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        return (
            f"mysqlclient can't be built: there is no {header}. "
            f"Install the headers of this Python, as Debian's package python3-dev."
        )

    return None


def install(environ: Mapping[str, str], say: Say) -> None:
    """Install mysqlclient beside this Python; fetch what it's built against.

    :raises ServerUnavailable: If it can't be built.
    """
    if importlib.util.find_spec("MySQLdb") is not None:
        return

    reason = obstacle()
    if reason is not None:
        raise ServerUnavailable(reason)
    # A cached build could be one against headers that are gone.
    command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "mysqlclient"]
    done = subprocess.run(command, env={**environ, **_build_options(environ, say)})
    if done.returncode != 0:
        raise ServerUnavailable("mysqlclient can't be built; pip says above why.")


def plugin_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where a client library that was fetched has its plug-ins.

    It looks for them where it would have been installed. Without them it can't log
    in to MySQL.
    """
    root = provisioned(MYSQLCLIENT_HEADERS, environ)
    return next(root.glob("usr/lib/*/libmariadb3/plugin"), None) if root else None


def _build_options(environ: Mapping[str, str], say: Say) -> dict[str, str]:
    if _is_installed():
        return {}

    root = provision(MYSQLCLIENT_HEADERS, environ, say)
    library = next(root.glob("usr/lib/*/libmariadb.so")).parent
    return {
        "MYSQLCLIENT_CFLAGS": f"-I{root}/usr/include/mariadb",
        "MYSQLCLIENT_LDFLAGS": f"-L{library} -lmariadb -Wl,-rpath,{library}",
    }


def _is_installed() -> bool:
    if not shutil.which("pkg-config"):
        return False

    found = (subprocess.run(["pkg-config", "--exists", name]) for name in _LIBRARIES)
    return any(done.returncode == 0 for done in found)
