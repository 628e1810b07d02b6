"""What a storage is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ovms.errors import Code, ServingError

READY_FILE: Final = ".ready"
"""Name of the file by which whoever writes a version can say that all of it is there."""


class NoVersionsError(ServingError):
    """The place is there, can be read and holds no version (NOT_FOUND).

    Its own class because it says that every version was taken away, by mistake or by wish; any other error says
    nothing about which versions there are.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


@dataclass(frozen=True)
class FoundVersion:
    """What one look at a storage tells of one version."""

    version: int
    """Its number."""

    content: str
    """A short fingerprint of all its files: another one means that something was added, taken away or replaced."""

    changed: float | None
    """When anything in it changed last, in seconds since the epoch; None if that is not known."""

    ready: bool
    """Whether a file named ``READY_FILE`` stands in the version's folder; never for a model that is one file."""

    empty: bool
    """Whether there is no file in it at all."""


class Storage(Protocol):
    """A place that holds numbered versions of one model. Its methods may block on I/O, and may run at once."""

    @property
    def place(self) -> str:
        """What it shares a network and its troubles with, such as a bucket; empty for a place of this machine."""
        ...

    def list_versions(self) -> list[FoundVersion]:
        """Return the versions that are there now, in ascending order, at least one.

        Raises NoVersionsError if there is none, ServingError if the place cannot be read.
        """
        ...

    def fetch(self, version: int) -> Path:
        """Return the folder or the model file of a version on this machine, bringing it there if need be.

        Lists anew only if the version is not where the last listing saw it. Raises ServingError, with NOT_FOUND for a
        version that is not there.
        """
        ...

    def release(self, path: Path) -> None:
        """Say that what ``fetch`` returned is not needed any more; once for each time."""
        ...

    def close(self) -> None:
        """Say that nobody looks any more, so that nothing of a listing needs to be remembered for the next.

        What is loaded or being loaded may still be fetched and released.
        """
        ...
