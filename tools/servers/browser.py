"""The browser in which the pages of the documentation are looked at.

The folder of a program in the environment comes first
(``SIGNALBUS_TEST_CHROMIUM_BINDIR``), then one that is installed, then Debian's package.
"""

from collections.abc import Mapping
from pathlib import Path

from servers.kinds import Software
from servers.provision import Say
from servers.resolution import installation_for

CHROMIUM = Software(
    name="chromium",
    version_pattern=r"Chromium (\d+(?:\.\d+)*)",
    programs=("chromium",),
    places=("/usr/bin", "/usr/lib/chromium", "/snap/bin"),
    oldest=(120,),
    url_is_of="",  # it is always started
)


def browser(environ: Mapping[str, str], say: Say) -> Path:
    """Return the program of the browser; fetch it if it's missing.

    :raises ServerUnavailable: If there is none; the text says what to do.
    """
    return installation_for(CHROMIUM, environ, say).programs["chromium"]
