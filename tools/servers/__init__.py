"""Private, throw-away database servers for the tests and the benchmarks.

The test matrix wants real servers that nobody has to start. This package finds
or downloads the programs, runs them, creates databases in them and takes all of
it away again.

The tests use it as a plugin of pytest (``servers.plugin``), the benchmarks as a
library, the Makefile and ``tox.ini`` by its command line. It knows none of them: a
suite tells the plugin what its databases can do by a hook (``servers.hooks``).
"""

from servers.errors import ServerUnavailable
from servers.resolution import private_server

__all__ = ["ServerUnavailable", "private_server"]
