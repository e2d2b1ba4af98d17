"""The cells of tox.ini, as far as this machine can run them."""

import subprocess
import sys
from collections.abc import Mapping

from servers import mysqlclient, pythons
from servers.errors import ServerUnavailable
from servers.provision import Say


def run(environ: Mapping[str, str], say: Say) -> int:
    """Run the cells; name those that can't be run as the last thing that is said.

    :return: The exit code of tox.
    """
    found: list[str] = []
    left_out: dict[str, str] = {}
    for version in pythons.promised():
        try:
            found.append(str(pythons.python_for(version, environ, say)))
        except ServerUnavailable as error:
            left_out[f"py{version.replace('.', '')}-.*"] = str(error)
    reason = mysqlclient.obstacle()
    if reason is not None:
        left_out[".*mysqlclient.*"] = reason

    settings = {"TOX_SKIP_ENV": "|".join(left_out)} if left_out else {}
    done = subprocess.run(
        [sys.executable, "-m", "tox", "run", "--discover", *found],
        env={**environ, **settings},
        check=False,
    )
    for cells, reason in left_out.items():
        say(f"NOT RUN: the cells {cells}: {reason}")
    return done.returncode
