"""boto3's client of a server of S3's protocol: made once for all buckets, and made anew when its keys are refused."""

import importlib.util
import io
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ovms.config.locations import parse_endpoint
from ovms.config.scalars import as_text, explain
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.cloud_errors import ANONYMOUS
from ovms.storage.http_get import READ_BYTES, Answer, HttpGet, OpenAnswer
from ovms.storage.object_store import StoredObject, StoreOptions

MOST_CONNECTIONS: Final = 64

LEAST_AGE_SECONDS: Final = 5.0
"""A client is not made anew sooner: many models may find its keys wrong."""

_LARGEST_REFUSAL: Final = 1 << 20

_ENDPOINTS: Final = ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables; the first is no other SDK's."""

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


@dataclass(frozen=True)
class SentListing:
    """A page of a listing as botocore understands it, and how it was got."""

    page: Mapping[str, Any]

    request: tuple[str, Mapping[str, str]] = field(repr=False)
    """URL and headers, signed."""

    answer: Answer = field(repr=False)


class S3Client:
    """For all buckets that are reached in one way. Any number of threads may use it at once."""

    def __init__(self, options: StoreOptions) -> None:
        """May ask services of the machine for credentials; raises what boto3 raises."""
        import boto3
        import botocore.session
        from botocore import UNSIGNED
        from botocore.awsrequest import AWSResponse
        from botocore.config import Config
        from botocore.exceptions import ClientError
        from botocore.httpsession import get_cert_path

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
        self._response = AWSResponse
        authorities = own.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._get = HttpGet(options.connect_timeout, options.read_timeout, get_cert_path(authorities))
        self._call = threading.local()
        # botocore's own way bounds neither the time of an answer nor, of all that a server tells, its size.
        for operation, send in (
            ("ListObjectsV2", self._send_listing), ("GetObject", self._send_get), ("HeadObject", self._send_head),
            ("HeadBucket", self._send_head), ("CreateSession", self._send_page),
        ):  # fmt: skip
            self.client.meta.events.register(f"before-send.s3.{operation}", send)

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
        return self._get.page(url, headers)

    def list_page(self, bucket: str, prefix: str, token: str, answer: Answer | None) -> SentListing:
        """One page of a listing. With an ``answer`` nothing is sent, and that is understood."""
        self._call.answer, self._call.sent = answer, None
        start = {"ContinuationToken": token} if token else {}
        page = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
        return SentListing(page, self._call.sent, self._call.answer)

    def head(self, bucket: str, item: StoredObject, more: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the store tells of an object."""
        found: Mapping[str, Any] = self.client.head_object(
            Bucket=bucket, Key=item.key, IfMatch=f'"{item.identity}"', **more
        )
        return found

    def forget(self) -> None:
        """Have a new one made the next time."""
        with _guard:
            if _clients.get(self._options) is self and time.monotonic() - self._made_at > LEAST_AGE_SECONDS:
                del _clients[self._options]

    # These are called by botocore in place of sending.

    def _send_listing(self, request: Any, **others: object) -> Any:
        answer = getattr(self._call, "answer", None)
        headers = _headers(request)
        if answer is None or self._call.sent is not None:  # nothing to hand in, or botocore asks again
            answer = self._get.page(request.url, headers)
        self._call.answer, self._call.sent = answer, (request.url, headers)
        return self._response(request.url, answer.status, answer.headers, _Body(answer.body))

    def _send_page(self, request: Any, **others: object) -> Any:
        """For the keys of a directory bucket (S3 Express One Zone), which the store itself gives."""
        answer = self._get.page(request.url, _headers(request))
        return self._response(request.url, answer.status, answer.headers, _Body(answer.body))

    def _send_head(self, request: Any, **others: object) -> Any:
        answer = self._get.page(request.url, _headers(request), "HEAD")
        return self._response(request.url, answer.status, answer.headers, _Body(b""))

    def _send_get(self, request: Any, **others: object) -> Any:
        answer = self._get.open(request.url, _headers(request))
        return self._response(request.url, answer.status, answer.headers, _OpenBody(answer))


def _headers(request: Any) -> dict[str, str]:
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in request.headers.items()
    }


class _Body(io.BytesIO):
    """An answer's body as botocore reads one."""

    def stream(self, **others: object) -> Iterator[bytes]:
        yield self.getvalue()


class _OpenBody:
    """A body that is to come, as botocore reads one."""

    def __init__(self, answer: OpenAnswer) -> None:
        self._answer = answer

    def read(self, amt: int | None = None) -> bytes:
        return self._answer.read(amt or READ_BYTES)

    def stream(self, **others: object) -> Iterator[bytes]:
        """Of a refusal: botocore takes it whole."""
        with closing(self._answer):
            yield self._answer.whole(_LARGEST_REFUSAL)

    def close(self) -> None:
        self._answer.close()


_clients: dict[StoreOptions, S3Client] = {}
_making: dict[StoreOptions, Future[S3Client]] = {}
_guard = threading.Lock()


def connected(options: StoreOptions) -> S3Client:
    """The client for these options, which is made if need be: once, as each takes 12 MB and a third of a second."""
    with _guard:
        known = _clients.get(options)
        if known is not None:
            return known
        making = _making.get(options)
        if making is None:
            mine = _making[options] = Future()
    if making is not None:
        return making.result()
    try:
        made = S3Client(options)  # may ask services for credentials, so others than these options do not wait
    except BaseException as error:
        with _guard:
            del _making[options]
        mine.set_exception(error)
        raise
    with _guard:
        _clients[options] = made
        del _making[options]
    mine.set_result(made)
    return made


def with_variables(options: StoreOptions, environment: Mapping[str, str]) -> StoreOptions:
    """Add what variables say; ConfigError if one is wrong, or has a secret in it that would be seen."""
    signature = environment.get("S3_SIGNATURE")
    if signature and signature.lower() not in _SIGNATURES:
        raise ConfigError(f"S3_SIGNATURE: {as_text(signature)} is not one of {', '.join(_SIGNATURES)}")
    ignored = environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    variables = _ENDPOINTS[:1] if ignored else _ENDPOINTS
    name = next((one for one in variables if environment.get(one)), None)
    if name is not None and not options.endpoint:
        try:
            options = replace(options, endpoint=parse_endpoint(environment[name]))
        except ConfigError as error:
            raise ConfigError(f"{name}: {explain(error, environment[name], as_text)}") from None
    return replace(options, region=options.region or environment.get("AWS_REGION") or None)


def require_boto3() -> None:
    """FAILED_PRECONDITION without it."""
    if importlib.util.find_spec("boto3") is None:
        raise ServingError(
            Code.FAILED_PRECONDITION, "s3:// paths need boto3, which is not installed: pip install 'ovms[s3]'"
        )


def _kind(credentials: Any) -> str:
    return ANONYMOUS if credentials is None else _KINDS.get(credentials.method, str(credentials.method))
