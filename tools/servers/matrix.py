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
    # The cell 'sqlite' does more with this one.
    done_already = "py{}{}-.*short".format(*sys.version_info)
    promised = pythons.promised()
    for version in promised:
        try:
            found.append(str(pythons.python_for(version, environ, say)))
        except ServerUnavailable as error:
            left_out[f"py{version.replace('.', '')}-.*"] = str(error)
    reason = mysqlclient.obstacle()
    if reason is not None:
        left_out[".*mysqlclient.*"] = reason

    settings = {"TOX_SKIP_ENV": "|".join([done_already, *left_out])}
    done = subprocess.run(
        [sys.executable, "-m", "tox", "run", "--discover", *found],
        env={**environ, **settings},
        check=False,
    )
    for cells, reason in left_out.items():
        say(f"NOT RUN: the cells {cells}: {reason}")
    names = ",".join(f"py{version.replace('.', '')}-sqlite" for version in promised)
    say(f"NOT RUN: with other Pythons, what takes long; 'tox -e {names}' runs it.")
    return done.returncode
