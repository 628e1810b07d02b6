"""Logging: where lines go, what they look like, how many there are."""

import json
import logging
import time
from logging.handlers import WatchedFileHandler
from typing import Final

from ovms.errors import ConfigError

FORMAT: Final = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and a traceback as error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as its line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)  # ASCII only: a name from outside cannot break the line


class _InOneOrder(logging.Handler):
    """Gives each record to several handlers under one lock, so that all of them have the lines in one order."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record to each handler."""
        for handler in self._handlers:
            handler.handle(record)

    def close(self) -> None:
        """Close the handlers, and with them the file."""
        for handler in self._handlers:
            handler.close()
        super().close()


def set_up(level: str, path: str | None, log_format: str = "text") -> None:
    """Send log lines to stderr and, with a path, also to the end of that file, as text or as JSON.

    ``level`` holds for the server's own loggers. Libraries are heard from WARNING up only: some
    of them write headers and credentials at DEBUG. Raises ConfigError if the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path:
        try:
            # Opens the file again when somebody has moved it away, as log rotation does.
            handlers.append(WatchedFileHandler(path, errors="backslashreplace"))
        except OSError as error:
            raise ConfigError(f"LOG_PATH: {path}: cannot be written: {error.strerror}") from None
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter(FORMAT)
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[_InOneOrder(handlers)], force=True)
    logging.getLogger("ovms").setLevel(level)
