"""Logging: where lines go, what they look like, how many there are."""

import logging

from ovms.errors import ConfigError

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
LEVELS = ("DEBUG", "INFO", "ERROR")


def level_name(text: str | None) -> str:
    """Return the level that ``LOG_LEVEL`` asks for, in capitals; INFO for anything that is not a level."""
    name = (text or "").upper()
    return name if name in LEVELS else "INFO"


def set_up(level: str, path: str | None) -> None:
    """Send log lines to stderr and, with a path, also to the end of that file.

    ``level`` holds for the server's own loggers. Libraries are heard from WARNING up only: some
    of them write headers and credentials at DEBUG. Raises ConfigError if the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path:
        try:
            handlers.append(logging.FileHandler(path, errors="backslashreplace"))
        except OSError as error:
            raise ConfigError(f"LOG_PATH: {path}: cannot be written: {error.strerror}") from None
    logging.basicConfig(level=logging.WARNING, format=FORMAT, handlers=handlers, force=True)
    logging.getLogger("ovms").setLevel(level)
