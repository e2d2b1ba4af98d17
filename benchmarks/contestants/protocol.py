"""What a contestant says: a line of JSON for each line that it reads.

All contestants import this, whichever environment they run in.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

#: Each contestant finds its signals here.
TABLE = "bench_signal"

#: Sends what is pending, in bursts of the given size, and returns how many signals it
#: sent; each call of the bulk sender pauses for that many seconds.
Flush = Callable[[int, float], int]


def serve(flush: Flush, distributions: list[str]) -> None:
    """Flush whenever asked to, until the input ends."""
    _say({"versions": {name: version(name) for name in distributions}})
    for line in sys.stdin:
        order = json.loads(line)
        start, cpu = time.perf_counter(), time.process_time()
        sent = flush(order["burst"], order["pause"])
        _say(
            {
                "sent": sent,
                "seconds": time.perf_counter() - start,
                "cpu_seconds": time.process_time() - cpu,
            }
        )


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
