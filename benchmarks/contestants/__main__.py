"""One of the outboxes that are compared: ``python -m benchmarks.contestants NAME``.

``NAME record URL`` reads lines, each a number of messages to record in one transaction,
and says when that was committed. ``NAME work URL BATCH ORDER`` is the worker, with a
batch of that size; the order, in JSON, is what its sender is to do.
"""

import json
import sys
from importlib import import_module

from benchmarks.contestants.sending import Sender


def main(name: str, role: str, url: str, *options: str) -> None:
    contestant = import_module(f"benchmarks.contestants.{name}")
    if role == "record":
        contestant.record(url)
    else:
        batch, order, *more = options
        contestant.work(url, int(batch), Sender(**json.loads(order)), *more)


if __name__ == "__main__":
    main(*sys.argv[1:])
