"""What an object store is: a flat list of named byte strings, read over the network.

One of these per model. No SDK is imported here; ``s3``, ``gcs`` and ``azure`` import theirs when one is opened.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

PIECE_BYTES: Final = 1 << 20
"""The largest piece that ``open_range`` gives."""


@dataclass(frozen=True)
class PartsChecksum:
    """What a store tells of an object that was written in parts: the checksum of its parts' checksums."""

    algorithm: Literal["md5", "crc32", "crc32c"]
    part_size: int
    """Bytes of each part but the last."""

    value: bytes
    """Big endian."""


@dataclass(frozen=True)
class StoredObject:
    """What a listing tells of one object."""

    key: str
    """Its name as the store has it."""

    size: int
    """In bytes."""

    identity: str
    """ETag or generation: another one means other bytes."""

    changed: float | None
    """When it was written, in seconds since the epoch; None if that is not known."""

    md5: bytes | None = None
    """MD5 of the content, if the listing tells it."""

    crc32c: bytes | None = None
    """CRC-32C of the content, big endian, if the listing tells it."""

    crc32: bytes | None = None
    """CRC-32 of the content, big endian, if the store tells it."""

    of_parts: tuple["PartsChecksum", ...] = ()
    """Checksums of parts' checksums, if the store tells them."""


@dataclass(frozen=True)
class StoreOptions:
    """How a store is reached, apart from what its SDK finds out by itself."""

    endpoint: str | None = None
    """URL of a server that is not the cloud's own."""

    region: str | None = None

    anonymous: bool = False
    """Whether requests go out without credentials, whatever the SDK would find."""

    connect_timeout: float = 5.0
    """Seconds that a connection may take."""

    read_timeout: float = 10.0
    """Seconds that a server may take to send something."""


class ObjectStore(Protocol):
    """The objects of one bucket. Methods may block on I/O and may run at once.

    They raise ServingError: UNAUTHENTICATED (wrong keys, expired token), PERMISSION_DENIED (a known identity may not),
    NOT_FOUND (bucket or key), UNAVAILABLE (connection, name, TLS, 5xx, throttling), DEADLINE_EXCEEDED (a time limit).
    No message has a key, a token or a signature in it.
    """

    @property
    def server(self) -> str:
        """Tells the server from others of its kind: its URL, or empty for the cloud's own."""
        ...

    @property
    def credentials(self) -> str:
        """The kind of the credentials, such as "environment variables" or "anonymous". May ask the SDK."""
        ...

    def list_objects(self, prefix: str, most: int) -> list[StoredObject]:
        """Return all objects whose keys begin with ``prefix``, in the store's order, with one request a page.

        RESOURCE_EXHAUSTED if there are more than ``most``.
        """
        ...

    def forget(self, prefix: str) -> None:
        """Keep nothing for a next listing of ``prefix``; there may be one all the same."""
        ...

    def described(self, item: StoredObject) -> StoredObject:
        """Return the object with what checksums of it the store tells; asks the store if the listing has none."""
        ...

    def open_range(self, item: StoredObject, start: int, length: int) -> AbstractContextManager[Iterator[bytes]]:
        """Open bytes ``start`` to ``start + length`` of exactly this identity, in pieces of ``PIECE_BYTES`` at most.

        ABORTED if the object was replaced. Errors may come from entering and from iterating. Fewer bytes than asked
        for may come without an error: whoever reads counts.
        """
        ...
