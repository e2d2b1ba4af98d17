"""The command line, ``python -m servers``, with ``tools`` on the path."""

import argparse
import os
import signal
import sys
from contextlib import suppress

from servers import matrix, mysqlclient
from servers.brokers import BROKERS, given_url, private_broker
from servers.browser import CHROMIUM
from servers.errors import ServerUnavailable
from servers.kinds import KINDS, kind_named
from servers.resolution import installation_for, server_for

#: What can be fetched besides database servers.
_OTHERS = {**BROKERS, CHROMIUM.name: CHROMIUM}


def main() -> int:
    """Run the command of the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="servers", description=__doc__)
    commands = parser.add_subparsers(required=True)
    fetching = commands.add_parser("provision", help="fetch what isn't installed")
    fetching.add_argument(
        "kinds", nargs="*", default=["postgresql", "mysql", "mariadb"]
    )
    fetching.set_defaults(run=lambda options: _provision(options.kinds))
    building = commands.add_parser("install-mysqlclient", help="build that driver")
    building.set_defaults(run=lambda options: mysqlclient.install(os.environ, _say))
    testing = commands.add_parser("matrix", help="run every cell that can be run here")
    testing.set_defaults(run=lambda options: matrix.run(os.environ, _say))
    starting = commands.add_parser("start", help="run a private server until Ctrl-C")
    starting.add_argument("kind", choices=[*KINDS, *BROKERS])
    starting.set_defaults(run=lambda options: _start(options.kind))
    options = parser.parse_args()
    try:
        code: int = options.run(options) or 0
    except ServerUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return code


def _provision(names: list[str]) -> None:
    for name in names:
        if name in BROKERS and given_url(BROKERS[name], os.environ):
            continue
        kind = _OTHERS.get(name) or kind_named(name)
        installation = installation_for(kind, os.environ, _say)
        program = next(iter(installation.programs.values()))
        _say(f"{name}: {installation.version} in {program.parent}")


def _start(name: str) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if name in BROKERS:
        with (
            suppress(KeyboardInterrupt),
            private_broker(name, os.environ, _say) as broker,
        ):
            _say(broker.url)
            signal.pause()
        return

    with suppress(KeyboardInterrupt), server_for(name, os.environ, _say) as server:
        _say(server.url.render_as_string(hide_password=False))
        signal.pause()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
