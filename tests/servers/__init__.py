"""Private, throw-away database servers for the tests and the benchmarks.

The test matrix wants real servers that nobody has to start. This package finds
or downloads the programs, runs them, creates databases in them and takes all of
it away again.
"""

from servers.errors import ServerUnavailable
from servers.resolution import private_server

__all__ = ["ServerUnavailable", "private_server"]
