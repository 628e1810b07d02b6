"""Amazon S3 and what speaks its protocol, through boto3."""

import base64
import hashlib
import importlib.util
import io
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from ovms.config.locations import Location, parse_endpoint
from ovms.config.scalars import as_text, explain
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.http_get import Answer, HttpGet
from ovms.storage.object_store import PartsChecksum, StoredObject, StoreOptions
from ovms.storage.s3_errors import ANYTHING_ELSE, HINTS, NOBODY, code_of, reason_of
from ovms.storage.store_errors import one_line

READ_BYTES: Final = 256 << 10
"""Of a download at a time."""

SIGNED_SECONDS: Final = 60.0
"""How long a signed listing is sent again: servers take signatures of the last 15 minutes."""

LISTING_SECONDS: Final = 30.0
"""How long one page of a listing may take in all."""

MOST_CONNECTIONS: Final = 64

LEAST_AGE_SECONDS: Final = 5.0
"""A client is not made anew sooner: many models may find its keys wrong."""

_KINDS: Final[Mapping[str, str]] = {
    "env": "environment variables",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS configuration file",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity",
    "sso": "single sign-on",
    "custom-process": "a credential process",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}
"""botocore's name of a provider -> ours."""

_SIGNATURES: Final[Mapping[str, str]] = {"s3v4": "s3v4", "v4": "s3v4", "s3": "s3", "v2": "s3"}
NO_LISTING: Final = "cannot list: the answer is not one of such a store; check the endpoint"

_NEXT: Final = "NextContinuationToken"
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_PARTS: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,5})")

logger = logging.getLogger(__name__)


class S3Store:
    """An ObjectStore of one bucket."""

    def __init__(self, bucket: str, options: StoreOptions) -> None:
        """FAILED_PRECONDITION without boto3, ConfigError for a variable that is wrong; no request is made yet."""
        _require_boto3()
        self._bucket = bucket
        self._options = with_variables(options, os.environ)
        self._listings: dict[str, _Listing] = {}

    @property
    def credentials(self) -> str:
        """Their kind; asks the SDK, and maybe services of the machine."""
        with self._explaining("find credentials", "") as sdk:
            return sdk.kind

    @property
    def server(self) -> str:
        """The URL of the server, as far as it was given; empty for the one of the region."""
        found = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        return self._options.endpoint or next(filter(None, found), "")

    def list_objects(self, prefix: str, most: int) -> list[StoredObject]:
        """See ObjectStore. The same list is returned as the last time if the store's answer is the same."""
        with self._explaining("list", prefix.rstrip("/")) as sdk:
            known, answer = self._listings.get(prefix), None
            if known is not None and known.is_fresh(sdk):
                answer = sdk.get(known.url, known.headers)
                if answer.status == 200 and _digest(answer.body) == known.digest:
                    return known.objects
            self._listings.pop(prefix, None)
            objects: list[StoredObject] = []
            token: str | None = None
            while True:
                page, sent, answer = sdk.list_page(self._bucket, prefix, token, answer)
                objects.extend(_stored(item) for item in page.get("Contents", ()))
                if len(objects) > most:
                    raise ServingError(
                        Code.RESOURCE_EXHAUSTED,
                        f"{self._name(prefix)}: more than {most} objects; expected a path with fewer below it",
                    )
                if token and page.get(_NEXT) == token:  # would go on for ever
                    raise ServingError(Code.UNAVAILABLE, f"{self._name(prefix)}: {NO_LISTING}")
                first, token = token is None, page.get(_NEXT)
                answer_now, answer = answer, None
                if not page.get("IsTruncated"):
                    break
            if first and answer_now is not None and sent is not None:
                self._listings[prefix] = _Listing(
                    sent[0], sent[1], time.monotonic(), sdk.signer(), _digest(answer_now.body), objects
                )
            return objects

    def described(self, item: StoredObject) -> StoredObject:
        """See ObjectStore. The ETag is an MD5 only if the object is not encrypted with a key that has a name."""
        with self._explaining("read", item.key) as sdk:
            try:
                head = sdk.head(self._bucket, item, {"ChecksumMode": "ENABLED"})
                crc32, crc32c = _checksum(head.get("ChecksumCRC32")), _checksum(head.get("ChecksumCRC32C"))
                item = replace(item, crc32=crc32, crc32c=crc32c)
                if _MD5.fullmatch(item.identity) and _etag_is_md5(head):
                    return replace(item, md5=bytes.fromhex(item.identity))
                if parts := _PARTS.fullmatch(item.identity):
                    first = sdk.head(self._bucket, item, {"PartNumber": 1})
                    size, count = int(first.get("ContentLength", 0)), int(parts[2])
                    if not size or -(-item.size // size) != count:
                        return item
                    last = sdk.head(self._bucket, item, {"PartNumber": count}) if count > 2 else {}
                    if int(last.get("ContentLength", 0)) not in (0, item.size - size * (count - 1)):
                        return item  # parts of many sizes: nobody tells where each begins
                    return replace(item, of_parts=_of_parts(size, head, parts))
            except sdk.client_error as error:
                # What is wrong, if it is more than an unknown question, is told when the object is read.
                if code_of(error) in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
                logger.debug("%s: no checksums: %s", self._name(item.key), code_of(error).name)
            return item

    @contextmanager
    def open_range(self, item: StoredObject, start: int, length: int) -> Iterator[Iterator[bytes]]:
        """See ObjectStore."""
        with self._explaining("read", item.key) as sdk:
            answer = sdk.client.get_object(
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
            yield self._pieces(body, item)
        finally:
            body.close()

    def _pieces(self, body: Any, item: StoredObject) -> Iterator[bytes]:
        while True:
            with self._explaining("read", item.key):
                piece = body.read(READ_BYTES)
            if not piece:
                return
            yield piece

    def _name(self, key: str) -> str:
        return str(Location("s3", self._bucket, key))

    @contextmanager
    def _explaining(self, doing: str, key: str) -> "Iterator[_Sdk]":
        """Give the SDK, and make a ServingError of what goes wrong."""
        sdk = None
        try:
            sdk = _connected(self._options)
            yield sdk
        except ServingError:
            raise
        except Exception as error:
            self._raise(sdk, f"{self._name(key)}: cannot {doing}", error)

    def _raise(self, sdk: "_Sdk | None", doing: str, error: Exception) -> NoReturn:
        code = code_of(error)
        if code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED) and sdk is not None:
            sdk.forget()  # files with keys are read once, and roles may come late: the next attempt looks for them anew
        hint = HINTS.get(code, ANYTHING_ELSE)
        if code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED) and sdk is not None and sdk.kind == _Sdk.ANONYMOUS:
            hint = hint if self._options.anonymous else NOBODY
        reason = one_line(reason_of(error), sdk.secrets() if sdk else ())
        raise ServingError(code, f"{doing}: {reason}; {hint}") from None


@dataclass(frozen=True)
class _Listing:
    """A listing of one page, signed, and what it said last."""

    url: str
    headers: Mapping[str, str]
    signed_at: float
    signer: object
    digest: bytes
    objects: list[StoredObject]

    def is_fresh(self, sdk: "_Sdk") -> bool:
        return time.monotonic() - self.signed_at < SIGNED_SECONDS and self.signer == sdk.signer()


class _Sdk:
    """A client of boto3 for all buckets that are reached in one way."""

    ANONYMOUS = "anonymous"

    def __init__(self, options: StoreOptions) -> None:
        import boto3
        import botocore.session
        from botocore import UNSIGNED
        from botocore.awsrequest import AWSResponse
        from botocore.config import Config
        from botocore.exceptions import ClientError
        from botocore.httpsession import get_cert_path
        from botocore.utils import get_environ_proxies

        limits: dict[str, Any] = {
            "connect_timeout": options.connect_timeout,
            "read_timeout": options.read_timeout,
            "retries": {"total_max_attempts": 1, "mode": "standard"},  # whoever asks has pauses of its own
        }
        own = botocore.session.get_session()
        own.set_default_client_config(Config(**limits))  # of the services that give credentials, too
        session = boto3.Session(botocore_session=own, region_name=options.region)
        self._credentials = None if options.anonymous else session.get_credentials()
        self.kind = _kind(self._credentials)
        signature = os.environ.get("S3_SIGNATURE")
        signed = {"signature_version": _SIGNATURES[signature.lower()]} if signature else {}
        self.client = session.client(
            "s3",
            endpoint_url=options.endpoint,
            config=Config(
                **limits | ({"signature_version": UNSIGNED} if self._credentials is None else signed),
                max_pool_connections=MOST_CONNECTIONS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self.client_error = ClientError
        self._made_at = time.monotonic()
        self._options = options
        self._response, self._proxies = AWSResponse, get_environ_proxies
        authorities = own.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._get = HttpGet(options.connect_timeout, options.read_timeout, get_cert_path(authorities))
        self._call = threading.local()
        self.client.meta.events.register("before-send.s3.ListObjectsV2", self._send)

    def signer(self) -> object:
        """Tells the credentials of now from others; asks for new ones if they have expired."""
        return None if self._credentials is None else self._credentials.get_frozen_credentials()

    def secrets(self) -> list[str | None]:
        """What no message may have in it."""
        try:
            found: Any = self.signer()
        except Exception:  # they could not be had, so nobody can have told them
            return []
        return [] if found is None else [found.secret_key, found.token, found.access_key]

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send a listing that was signed before."""
        return self._get(url, headers, LISTING_SECONDS)

    def list_page(
        self, bucket: str, prefix: str, token: str | None, answer: Answer | None
    ) -> tuple[Mapping[str, Any], tuple[str, Mapping[str, str]] | None, Answer | None]:
        """One page, the request that was sent for it, and its answer. With an ``answer`` nothing is sent."""
        self._call.answer, self._call.sent = answer, None
        start = {"ContinuationToken": token} if token else {}
        page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
        # An answer that is empty, or ends too early, must not pass for versions that were taken away.
        if ("Name" not in page and "MaxKeys" not in page) or (page.get("IsTruncated") and not page.get(_NEXT)):
            raise ServingError(Code.UNAVAILABLE, f"{Location('s3', bucket, prefix)}: {NO_LISTING}")
        return page, self._call.sent, self._call.answer

    def head(self, bucket: str, item: StoredObject, more: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the store tells of an object."""
        found: Mapping[str, Any] = self.client.head_object(
            Bucket=bucket, Key=item.key, IfMatch=f'"{item.identity}"', **more
        )
        return found

    def forget(self) -> None:
        """Have a new one made the next time."""
        with _guard:
            if _sdks.get(self._options) is self and time.monotonic() - self._made_at > LEAST_AGE_SECONDS:
                del _sdks[self._options]

    def _send(self, request: Any, **others: object) -> Any:
        """Called by botocore in place of sending, unless it returns None."""
        answer = getattr(self._call, "answer", None)
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        if answer is None or self._call.sent is not None:  # nothing to hand in, or botocore asks again
            if self._proxies(request.url):
                return None
            answer = self._get(request.url, headers, LISTING_SECONDS)
        self._call.answer, self._call.sent = answer, (request.url, headers)
        return self._response(request.url, answer.status, answer.headers, _Body(answer.body))


class _Body(io.BytesIO):
    """An answer's body as botocore reads one."""

    def stream(self, **others: object) -> Iterator[bytes]:
        yield self.getvalue()


_sdks: dict[StoreOptions, _Sdk] = {}
_guard = threading.Lock()


def _connected(options: StoreOptions) -> _Sdk:
    with _guard:
        known = _sdks.get(options)
    if known is not None:
        return known
    made = _Sdk(options)  # may ask services for credentials; whoever comes second does it in vain
    with _guard:
        return _sdks.setdefault(options, made)


def with_variables(options: StoreOptions, environment: Mapping[str, str]) -> StoreOptions:
    """Add what variables say that boto3 does not read; ConfigError if one is wrong."""
    signature, endpoint = environment.get("S3_SIGNATURE"), environment.get("S3_ENDPOINT")
    if signature and signature.lower() not in _SIGNATURES:
        raise ConfigError(f"S3_SIGNATURE: {as_text(signature)} is not one of {', '.join(_SIGNATURES)}")
    if endpoint and not options.endpoint:
        try:
            options = replace(options, endpoint=parse_endpoint(endpoint))
        except ConfigError as error:
            raise ConfigError(f"S3_ENDPOINT: {explain(error, endpoint, as_text)}") from None
    return replace(options, region=options.region or environment.get("AWS_REGION") or None)


def _require_boto3() -> None:
    if importlib.util.find_spec("boto3") is None:
        raise ServingError(
            Code.FAILED_PRECONDITION, "s3:// paths need boto3, which is not installed: pip install 'ovms[s3]'"
        )


def _kind(credentials: Any) -> str:
    return _Sdk.ANONYMOUS if credentials is None else _KINDS.get(credentials.method, str(credentials.method))


def _stored(item: Mapping[str, Any]) -> StoredObject:
    changed = item.get("LastModified")
    return StoredObject(
        item["Key"], int(item["Size"]), item.get("ETag", "").strip('"'), changed.timestamp() if changed else None
    )


def _etag_is_md5(head: Mapping[str, Any]) -> bool:
    """It is something else, of the same look, if the object is encrypted with a key that has a name."""
    return head.get("ServerSideEncryption", "AES256") == "AES256" and not head.get("SSECustomerAlgorithm")


def _of_parts(size: int, head: Mapping[str, Any], etag: re.Match[str]) -> tuple[PartsChecksum, ...]:
    """The checksums of parts' checksums, all but the last of which have ``size`` bytes."""
    count = int(etag[2])
    found = [PartsChecksum("md5", size, bytes.fromhex(etag[1]))] if _etag_is_md5(head) else []
    crc32 = _checksum(str(head.get("ChecksumCRC32")).removesuffix(f"-{count}"))
    crc32c = _checksum(str(head.get("ChecksumCRC32C")).removesuffix(f"-{count}"))
    if head.get("ChecksumType") == "COMPOSITE":
        found += [PartsChecksum("crc32", size, crc32)] if crc32 else []
        found += [PartsChecksum("crc32c", size, crc32c)] if crc32c else []
    return tuple(found)


def _checksum(text: str | None) -> bytes | None:
    """Of four bytes, in base64; None for anything else, such as that of parts."""
    try:
        value = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return value if len(value) == 4 else None


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
