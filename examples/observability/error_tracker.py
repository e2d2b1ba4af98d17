"""One event per cause, with model and key, for a tracker of errors such as Sentry."""

import logging
from collections.abc import Callable
from typing import Any


class ErrorTracker(logging.Handler):
    """Report each record that has a traceback; there is one per cause.

    :param report: Called with the exception, and a dictionary of tags. With Sentry:
        ``lambda error, tags: sentry_sdk.capture_exception(error, tags=tags)``, and
        ``ignore_logger("swpt_pythonlib.flask_signalbus")``, so that it does not report
        the record itself too.
    """

    def __init__(
        self, report: Callable[[BaseException, dict[str, Any]], object]
    ) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        if error:
            names = ("model", "key", "error")
            tags = {name: vars(record).get(f"signalbus_{name}") for name in names}
            self._report(error, {k: str(v) for k, v in tags.items() if v is not None})
