"""Objects on Google Cloud Storage, and on servers of its JSON API."""

import base64
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http.client import responses
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from ovms.config.locations import parse_endpoint
from ovms.config.scalars import as_text, explain
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.cloud_errors import ANONYMOUS, code_of, network_failure, refusal, unintelligible
from ovms.storage.gcs_token import GcsToken
from ovms.storage.http_get import OpenAnswer
from ovms.storage.known_listings import Contents, KnownListings, Page
from ovms.storage.object_store import StoredObject, StoreOptions
from ovms.storage.plain_http import safe_for_secrets
from ovms.storage.ranged_get import reading, send_get
from ovms.storage.way_in import WayIn, http_get

KEY_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
EMULATOR: Final = "STORAGE_EMULATOR_HOST"

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
_UNIVERSE: Final = "googleapis.com"
_FIELDS: Final = quote("kind,items(name,size,generation,timeCreated,md5Hash,crc32c),nextPageToken", safe="")
_LISTING: Final = "storage#objects"
_PAGE: Final = 1000
_LARGEST_REFUSAL: Final = 1 << 20

_KINDS: Final = {
    "google.oauth2.service_account": "service account",
    "google.auth.compute_engine.credentials": "metadata server",
    "google.oauth2.credentials": "user",
    "google.auth.impersonated_credentials": "impersonated service account",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Access:
    """A way in: whose, and where to."""

    kind: str
    token: GcsToken
    endpoint: str


class _Answered(Protocol):
    @property
    def status(self) -> int: ...


S = TypeVar("S", bound=_Answered)


class GcsStore:
    """One bucket, with the credentials that google-auth finds, else without any. An ``ObjectStore``.

    google-auth gives the tokens. The client library above it asks for the bucket, too, which costs a request and needs
    a permission more; and it writes an object's bytes into a file, where here they are read.
    """

    def __init__(self, bucket: str, options: StoreOptions) -> None:
        """FAILED_PRECONDITION without google-auth, ConfigError for a variable that is wrong; nothing is asked yet."""
        try:
            import_module("google.auth.transport.requests")
        except ImportError:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "gs:// paths need google-auth and requests, which are not installed: pip install 'ovms[gcs]'",
            ) from None
        self._bucket = bucket
        self._path = f"/storage/v1/b/{quote(bucket, safe='')}/o"
        self._options = options
        self._emulator = "" if options.endpoint else _emulator()
        self._http = http_get(options)
        self._listings = KnownListings()
        self._way_in = WayIn(self._connect, _translated, KEY_FILE)

    @property
    def server(self) -> str:
        """The URL of the server; empty for the cloud's own."""
        return self._options.endpoint or self._emulator

    @property
    def credentials(self) -> str:
        """The kind of the credentials; looks for them if none have been used yet."""
        return self._way_in.open(f"gs://{self._bucket}").kind

    def list_objects(self, prefix: str, most: int) -> list[StoredObject]:
        """Return all objects whose keys begin with ``prefix``; see ObjectStore."""
        place = f"gs://{self._bucket}/{prefix}"
        ask = partial(self._page, place, prefix)
        return self._listings.objects(place, prefix, most, ask, partial(unintelligible, place, "list"))

    def _page(self, place: str, prefix: str, token: str) -> Page:
        following = f"&pageToken={quote(token, safe='')}" if token else ""
        query = f"maxResults={_PAGE}&fields={_FIELDS}&prefix={quote(prefix, safe='')}{following}"

        def ask(access: _Access) -> bytes:
            url = f"{access.endpoint}{self._path}?{query}"
            answer = self._authorized(access, url, partial(self._http.page, url))
            if answer.status != 200:
                raise refusal(place, "list", code_of(answer.status), _said(answer.status, answer.body), access.kind)
            return answer.body

        def read() -> Contents:
            try:
                page = json.loads(body)
                if page["kind"] != _LISTING:  # an empty one has nothing else
                    raise unintelligible(place, "list")
                return [_stored(item) for item in page.get("items", [])], str(page.get("nextPageToken") or "")
            except (ValueError, LookupError, TypeError, AttributeError):
                raise unintelligible(place, "list") from None

        body: bytes = self._way_in.use(place, "list", ask)
        return Page(body, read)

    def _authorized(self, access: _Access, url: str, send: Callable[[Mapping[str, str]], S]) -> S:
        """What is answered to a request with these headers; a token that is refused is renewed once."""
        got = send(access.token.headers(url))
        if got.status != 401:
            return got
        if isinstance(got, OpenAnswer):
            got.close()
        access.token.renew()
        return send(access.token.headers(url))

    def forget(self, prefix: str) -> None:
        """See ObjectStore."""
        self._listings.forget(prefix)

    def described(self, item: StoredObject) -> StoredObject:
        """Return the object: its listing tells all checksums that there are."""
        return item

    def open_range(self, item: StoredObject, start: int, length: int) -> AbstractContextManager[Iterator[bytes]]:
        """Open a range of exactly this generation; see ObjectStore."""
        place = f"gs://{self._bucket}/{item.key}"
        get = partial(self._get, place=place, item=item, start=start, length=length)
        return reading(self._way_in, get, place, start, length)

    def _get(self, access: _Access, place: str, item: StoredObject, start: int, length: int) -> OpenAnswer:
        path = f"/download/storage/v1/b/{quote(self._bucket, safe='')}/o/{quote(item.key, safe='')}"
        url = f"{access.endpoint}{path}?alt=media&ifGenerationMatch={item.identity}"
        send = partial(send_get, self._http, url, start=start, length=length)
        answer = self._authorized(access, url, send)
        try:
            if answer.status not in (200, 206):
                said = _said(answer.status, answer.whole(_LARGEST_REFUSAL))
                raise refusal(place, "read", code_of(answer.status), said, access.kind)
            if answer.headers.get("x-goog-generation", item.identity) != item.identity:
                raise refusal(place, "read", Code.ABORTED, "another generation came", access.kind)
        except BaseException:
            answer.close()
            raise
        return answer

    def _connect(self) -> _Access:
        credentials, kind = _credentials(self._options.anonymous or bool(self._emulator))
        universe = getattr(credentials, "universe_domain", _UNIVERSE)
        endpoint = self.server or f"https://storage.{universe}"
        if kind != ANONYMOUS and not safe_for_secrets(endpoint):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{endpoint}: a token is sent over TLS only; give an https endpoint, or anonymous",
            )
        limits = (self._options.connect_timeout, self._options.read_timeout)
        return _Access(kind, GcsToken(credentials, limits), endpoint)


def _emulator() -> str:
    """The server that the variable names, if any."""
    given = os.environ.get(EMULATOR)
    try:
        return parse_endpoint(given) if given else ""
    except ConfigError as error:
        raise ConfigError(f"{EMULATOR}: {explain(error, given, as_text)}") from None


def _credentials(anonymous: bool) -> tuple[Any, str]:
    """google-auth's credentials and their kind."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    # It remarks on projects, which play no part here, and on each attempt at a metadata server.
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    if anonymous:
        return AnonymousCredentials(), ANONYMOUS
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError:
        if os.environ.get(KEY_FILE):
            raise
        logger.info("Switching to anonymous google storage client")
        return AnonymousCredentials(), ANONYMOUS
    kind = _KINDS.get(type(credentials).__module__, "federated identity")
    found = KEY_FILE if os.environ.get(KEY_FILE) else "application default credentials"
    return credentials, f"{found}: {kind}"


def _stored(item: Mapping[str, str]) -> StoredObject:
    created = item.get("timeCreated", "").replace("Z", "+00:00")
    return StoredObject(
        key=item["name"],
        size=int(item["size"]),
        identity=str(item["generation"]),
        changed=datetime.fromisoformat(created).timestamp() if created else None,
        md5=base64.b64decode(item["md5Hash"]) if "md5Hash" in item else None,
        crc32c=base64.b64decode(item["crc32c"]) if "crc32c" in item else None,
    )


def _translated(error: Exception, place: str, doing: str, kind: str) -> ServingError:
    """The error that an exception of the SDK stands for."""
    from google.auth import exceptions as auth

    if isinstance(error, ServingError):
        return error
    if isinstance(error, auth.InvalidOperation):  # 401, and anonymous credentials that cannot be renewed
        return refusal(place, doing, Code.UNAUTHENTICATED, "the store wants to know who asks (HTTP 401)", kind)
    failed = network_failure(place, doing, error)
    if failed is not None:
        return failed
    if isinstance(error, auth.GoogleAuthError):
        code = Code.UNAVAILABLE if error.retryable else Code.UNAUTHENTICATED
        return refusal(place, doing, code, str(error.args[0] if error.args else error), kind)
    return refusal(place, doing, Code.UNAVAILABLE, type(error).__name__, kind)


def _said(status: int, body: bytes) -> str:
    """What the store gives as the reason, and the status."""
    try:
        told = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        told = responses.get(status, "refused")
    return f"{told} (HTTP {status})"
