"""Walk through an example with a real broker, which is killed on the way.

``make demo-rabbitmq`` runs ``python broker_demo.py rabbitmq`` with the project's tools
on the path: they find or fetch a broker, and start it on a free port. Each command of
the shop is shown with what it prints. One that does not end as expected stops the demo
with a message and exit status 1.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from servers.brokers import private_broker
from servers.errors import ServerUnavailable

HERE = Path(__file__).resolve().parent


class Shop:
    """The command line of an example."""

    def __init__(self, name: str, broker_url: str, folder: str) -> None:
        self._example = HERE / name
        self._environ = {
            **os.environ,
            "FLASK_APP": "shop",
            "SHOP_BROKER_URL": broker_url,
            "SHOP_BROKER_TIMEOUT": "5",
            "SHOP_DATABASE_URL": f"sqlite:///{folder}/shop.sqlite",
        }

    def run(self, command: str, *, says: str, status: int = 0) -> None:
        """Run ``flask COMMAND``, show what it prints, and check that."""
        print(f"$ flask {command}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "flask", *shlex.split(command)],
            cwd=self._example,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(without_tracebacks(done.stdout), end="", flush=True)
        if status:
            print(f"(exit status {status})", flush=True)
        if done.returncode != status or says not in done.stdout:
            print(done.stdout, file=sys.stderr)
            sys.exit(f"demo: exit status {status} and {says!r} would be right.")


def without_tracebacks(output: str) -> str:
    """Return what was printed, with each traceback cut down to its last line."""
    lines: list[str] = []
    is_traceback = False
    for line in output.splitlines(keepends=True):
        if line.startswith("Traceback ") or line.startswith("The above exception"):
            is_traceback = True
        elif not line.startswith(("INFO: ", "ERROR: ", "WARNING: ")) and is_traceback:
            if line.strip() and not line.startswith(" "):
                lines.append(line)
                is_traceback = False
        else:
            is_traceback = False
            lines.append(line)
    return "".join(line for line in lines if line.strip())


def tell(text: str) -> None:
    """Print a paragraph of the story."""
    print(f"\n{text}\n", flush=True)


def main(name: str) -> None:
    """Tell the story."""
    with (
        private_broker(name, os.environ, print) as broker,
        tempfile.TemporaryDirectory() as folder,
    ):
        run = Shop(name, broker.url, folder).run
        run("set-up berlin", says="can be told")

        tell("1. Orders are recorded with their signals, and sent 100 at a time.")
        run("place-order berlin 3 --times 250", says="Order 250")
        run("signalbus flushmany", says="250 signals")

        tell(
            "2. A consumer crashes when it has committed its work, before it has told"
            "\n   the broker. The message comes again, and is known by its identifier."
        )
        run("consume berlin --quiet 2 --forget", says="Crashed", status=1)
        run(
            "consume berlin --quiet 2",
            says="249 new messages, 1 duplicates dropped; 250 reservations",
        )

        tell(
            "3. Nobody takes orders for the moon. The broker refuses that message, in"
            "\n   the middle of a burst; the other ones are sent, and not sent again."
        )
        run("place-order berlin 1", says="Order 251")
        run("place-order moon 1", says="Order 252")
        run("place-order berlin 1", says="Order 253")
        run("signalbus flushmany", says="SignalsRefused", status=1)
        run("signalbus pending", says="Total pending: 1\n")
        run("consume berlin --quiet 2", says="2 new messages, 0 duplicates")
        run("set-up moon", says="can be told")
        run("signalbus flushmany", says="1 signals")

        tell("4. The broker is killed. Orders can be placed, and their signals stay.")
        broker.kill()
        print(f"(kill -9 {name})", flush=True)
        run("place-order berlin 2 --times 5", says="Order 258")
        run("signalbus flushmany", says="Caught error", status=1)
        run("signalbus pending", says="Total pending: 5\n")

        tell("5. It is started again, and nothing was lost, on either side.")
        broker.start()
        print(f"({name} is back)", flush=True)
        run("signalbus flushmany", says="5 signals")
        run(
            "consume berlin --quiet 2",
            says="5 new messages, 0 duplicates dropped; 257 reservations",
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except ServerUnavailable as error:
        sys.exit(str(error))
