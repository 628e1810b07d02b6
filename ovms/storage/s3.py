"""Amazon S3 and what speaks its protocol, through boto3."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NoReturn

from ovms.config.locations import Location
from ovms.errors import Code, ServingError
from ovms.storage.cloud_errors import ANONYMOUS
from ovms.storage.known_listings import KnownListings
from ovms.storage.object_store import StoredObject, StoreOptions
from ovms.storage.s3_checksums import with_checksums, with_parts
from ovms.storage.s3_client import S3Client, connected, require_boto3, with_variables
from ovms.storage.s3_errors import ANYTHING_ELSE, HINTS, NOBODY, code_of, reason_of
from ovms.storage.s3_listing import SignedListings
from ovms.storage.store_errors import one_line

READ_BYTES: Final = 256 << 10
"""Of a download at a time."""

logger = logging.getLogger(__name__)


class S3Store:
    """An ObjectStore of one bucket."""

    def __init__(self, bucket: str, options: StoreOptions) -> None:
        """FAILED_PRECONDITION without boto3, ConfigError for a variable that is wrong; no request is made yet."""
        require_boto3()
        self._bucket = bucket
        self._options = with_variables(options, os.environ)
        self._signed = SignedListings(bucket)
        self._listings = KnownListings()

    @property
    def credentials(self) -> str:
        """Their kind; asks the SDK, and maybe services of the machine."""
        with self._explaining("find credentials", "") as client:
            return client.kind

    @property
    def server(self) -> str:
        """The URL of the server, as far as it was given; empty for the one of the region."""
        return self._options.endpoint or ""

    def list_objects(self, prefix: str, most: int) -> list[StoredObject]:
        """See ObjectStore."""
        with self._explaining("list", prefix.rstrip("/")) as client:
            return self._listings.objects(
                self._name(prefix), prefix, most, partial(self._signed.page, client, prefix),
                partial(self._signed.unlike, prefix),
            )  # fmt: skip

    def forget(self, prefix: str) -> None:
        """See ObjectStore."""
        self._listings.forget(prefix)
        self._signed.forget(prefix)

    def described(self, item: StoredObject) -> StoredObject:
        """See ObjectStore."""
        with self._explaining("read", item.key) as client:
            try:
                ask = partial(client.head, self._bucket, item)
                head = ask({"ChecksumMode": "ENABLED"})
                item = with_checksums(item, head)
                item = with_parts(item, head, ask)
            except client.client_error as error:
                # What is wrong, if it is more than an unknown question, is told when the object is read.
                if code_of(error) in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
                logger.debug("%s: no checksums: %s", self._name(item.key), code_of(error).name)
            return item

    @contextmanager
    def open_range(self, item: StoredObject, start: int, length: int) -> Iterator[Iterator[bytes]]:
        """See ObjectStore."""
        with self._explaining("read", item.key) as client:
            answer = client.client.get_object(
                Bucket=self._bucket,
                Key=item.key,
                Range=f"bytes={start}-{start + length - 1}",
                IfMatch=f'"{item.identity}"',
            )
        body = answer["Body"]
        try:
            found = answer.get("ETag", "").strip('"')
            if found and found != item.identity:  # not every server knows If-Match
                raise ServingError(Code.ABORTED, f"{self._name(item.key)}: cannot read: {HINTS[Code.ABORTED]}")
            whole = start == 0 and answer.get("ContentLength") == length
            if not whole and not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"{self._name(item.key)}: cannot read: the server sends the whole object when asked for a range",
                )
            yield self._pieces(body, item, length)
        finally:
            body.close()

    def _pieces(self, body: Any, item: StoredObject, left: int) -> Iterator[bytes]:
        while left > 0:  # a server may send more than it was asked for, and never end
            with self._explaining("read", item.key):
                piece = body.read(READ_BYTES)
            if not piece:
                return
            yield piece[:left]
            left -= len(piece)

    def _name(self, key: str) -> str:
        return str(Location("s3", self._bucket, key))

    @contextmanager
    def _explaining(self, doing: str, key: str) -> Iterator[S3Client]:
        """Give the client, and make a ServingError of what goes wrong."""
        client = None
        try:
            client = connected(self._options)
            yield client
        except ServingError:
            raise
        except Exception as error:
            self._raise(client, f"{self._name(key)}: cannot {doing}", error)

    def _raise(self, client: S3Client | None, doing: str, error: Exception) -> NoReturn:
        code = code_of(error)
        if code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED) and client is not None:
            client.forget()  # files with keys are read once, and roles may come late: they are looked for anew
        hint = HINTS.get(code, ANYTHING_ELSE)
        if code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED) and client is not None and client.kind == ANONYMOUS:
            hint = hint if self._options.anonymous else NOBODY
        reason = one_line(reason_of(error), client.secrets() if client else ())
        raise ServingError(code, f"{doing}: {reason}; {hint}") from None
