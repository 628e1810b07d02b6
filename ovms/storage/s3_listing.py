"""Pages of a bucket's listing. To sign a request takes longer than to send it, so a signed one is used for a while."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ovms.config.locations import Location
from ovms.errors import Code, ServingError
from ovms.storage.known_listings import Contents, Page
from ovms.storage.object_store import StoredObject
from ovms.storage.s3_client import S3Client

SIGNED_SECONDS: Final = 60.0
"""How long a signed listing is sent again: servers take signatures of the last 15 minutes."""

NO_LISTING: Final = "cannot list: the answer is not one of such a store; check the endpoint"

_NEXT: Final = "NextContinuationToken"


@dataclass(frozen=True)
class _Signed:
    """A request for the first page of a listing."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    signed_at: float
    signer: object

    def is_fresh(self, client: S3Client) -> bool:
        return time.monotonic() - self.signed_at < SIGNED_SECONDS and self.signer == client.signer()


class SignedListings:
    """Of one bucket. Any number of threads may use it at once."""

    def __init__(self, bucket: str) -> None:
        """Nothing is signed yet."""
        self._bucket = bucket
        self._signed: dict[str, _Signed] = {}

    def page(self, client: S3Client, prefix: str, token: str) -> Page:
        """Ask for a page; ``token`` is empty for the first. Raises what the client raises, and ``unlike``."""
        answer = None
        signed = None if token else self._signed.get(prefix)
        if signed is not None and signed.is_fresh(client):
            answer = client.get(signed.url, signed.headers)
            if answer.status == 200:
                known = answer
                return Page(
                    known.body, lambda: self._contents(prefix, client.list_page(self._bucket, prefix, "", known).page)
                )
        sent = client.list_page(self._bucket, prefix, token, answer)
        contents = self._contents(prefix, sent.page)
        if not token:
            self._signed[prefix] = _Signed(*sent.request, time.monotonic(), client.signer())
        return Page(sent.answer.body, lambda: contents)

    def forget(self, prefix: str) -> None:
        """Keep no request for it."""
        self._signed.pop(prefix, None)

    def unlike(self, prefix: str) -> ServingError:
        """The error for an answer that is no listing of such a store (UNAVAILABLE)."""
        return ServingError(Code.UNAVAILABLE, f"{Location('s3', self._bucket, prefix)}: {NO_LISTING}")

    def _contents(self, prefix: str, page: Mapping[str, Any]) -> Contents:
        following = str(page.get(_NEXT) or "") if page.get("IsTruncated") else ""
        # An answer that is empty, or ends too early, must not pass for versions that were taken away.
        if ("Name" not in page and "MaxKeys" not in page) or (page.get("IsTruncated") and not following):
            raise self.unlike(prefix)
        return [_stored(item) for item in page.get("Contents", ())], following


def _stored(item: Mapping[str, Any]) -> StoredObject:
    changed = item.get("LastModified")
    return StoredObject(
        item["Key"], int(item["Size"]), item.get("ETag", "").strip('"'), changed.timestamp() if changed else None
    )
