"""Log records as lines of JSON, with all that they know of a flush."""

import json
import logging


class JSONFormatter(logging.Formatter):
    """Write a record as an object, with the facts that it carries."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {k: v for k, v in vars(record).items() if k.startswith("signalbus_")}
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **facts,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)

        return json.dumps(line, default=str)
