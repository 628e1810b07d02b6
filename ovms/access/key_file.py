"""The file of API keys of a running server: read at the start, and again whenever it has changed."""

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Sequence

from ovms.access.keys import ApiKey, parse_keys, read_bytes
from ovms.errors import ConfigError

Apply = Callable[[Sequence[ApiKey]], None]

logger = logging.getLogger(__name__)


class KeyFile:
    """Tells those who let in which keys are in force."""

    def __init__(self, path: str) -> None:
        """Read the file; ConfigError if it is wrong."""
        self._path = path
        self._guard = threading.Lock()
        self._listeners: list[Apply] = []
        content = read_bytes(path)
        self._seen: bytes | str = hashlib.sha256(content).digest()
        self._keys = parse_keys(path, content)
        self._mode: int | None = None
        self._warn_if_open()
        logger.info("API keys: %s may call, others may not", [key.name for key in self._keys])

    def connect(self, apply: Apply) -> None:
        """Have ``apply`` get the keys now, and whenever they change; one call at a time."""
        with self._guard:
            self._listeners.append(apply)
            apply(self._keys)

    def look(self) -> None:
        """Take over the file if it has changed; if it is wrong, that is logged once and the keys stay."""
        with self._guard:
            self._warn_if_open()
            try:
                content = read_bytes(self._path)
            except ConfigError as error:
                self._keep(error, error.message)
                return
            seen = hashlib.sha256(content).digest()
            if seen == self._seen:
                return
            try:
                keys = parse_keys(self._path, content)
            except ConfigError as error:
                self._keep(error, seen)
                return
            self._seen = seen
            before, self._keys = self._keys, keys
            for apply in self._listeners:
                apply(keys)
        old, new = ({key.name: key for key in each} for each in (before, keys))
        logger.info(
            "API keys: %s may call (added %s, changed %s, removed %s)",
            list(new), sorted(new.keys() - old.keys()),
            sorted(name for name in new.keys() & old.keys() if new[name] != old[name]), sorted(old.keys() - new.keys()),
        )  # fmt: skip

    def _keep(self, error: ConfigError, seen: bytes | str) -> None:
        if seen != self._seen:
            logger.error("The changed API keys are not used, those of before stay: %s", error.message)
        self._seen = seen

    def _warn_if_open(self) -> None:
        try:
            mode = stat.S_IMODE(os.stat(self._path).st_mode)
        except OSError:
            return
        if mode != self._mode and mode & (stat.S_IROTH | stat.S_IWOTH):
            can = "read" if mode & stat.S_IROTH else "written"
            logger.warning("%s can be %s by every user of this machine; expected a mode such as 0600", self._path, can)
        self._mode = mode
