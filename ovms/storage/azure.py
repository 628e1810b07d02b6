"""Objects on Azure Blob Storage, and on servers of its protocol."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from ovms.errors import Code, ServingError
from ovms.storage.azure_account import ACCOUNTS, CONNECTION_STRING, find_account
from ovms.storage.cloud_errors import ANONYMOUS, ConnectionLostError, code_of, network_failure, refusal, unintelligible
from ovms.storage.object_store import PIECE_BYTES, StoredObject, StoreOptions

_TOKEN_SCOPE: Final = "https://storage.azure.com/.default"
_PAGE: Final = 5000
# The SDK holds twice as much of a range in memory.
_REQUEST_BYTES: Final = 2 * PIECE_BYTES
# Of these at least one is set wherever somebody has given this process an identity.
_IDENTITY: Final = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)
# Both come with the status 403.
_NOT_KNOWN: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Access:
    """A way in: whose, and its connections."""

    kind: str
    container: Any


class AzureStore:
    """One container of the account that the environment or the options name. An ``ObjectStore``.

    Credentials are the first of these that is there: a connection string, an account's key, a shared access signature,
    what azure-identity finds. Without any it is asked anonymously.
    """

    def __init__(self, container: str, options: StoreOptions) -> None:
        """FAILED_PRECONDITION without azure-storage-blob or an account; nothing is asked for yet."""
        try:
            import_module("azure.storage.blob")
        except ImportError:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "az:// paths need azure-storage-blob, which is not installed: pip install 'ovms[azure]'",
            ) from None
        self._name = container
        self._options = options
        self._account = find_account(os.environ, options.endpoint)
        if not self._account.url:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"which storage account has it is not known; set {CONNECTION_STRING} or {ACCOUNTS[0]}, or give the "
                "endpoint, such as https://ACCOUNT.blob.core.windows.net",
            )
        self._guard = threading.Lock()
        self._access: _Access | None = None

    @property
    def server(self) -> str:
        """The URL of the account's blob service."""
        return self._account.url

    @property
    def credentials(self) -> str:
        """The kind of the credentials; looks for them if none have been used yet."""
        return self._open(f"az://{self._name}").kind

    def list_objects(self, prefix: str, most: int) -> list[StoredObject]:
        """Return all blobs whose names begin with ``prefix``; see ObjectStore."""
        place = f"az://{self._name}/{prefix}"

        def ask(access: _Access) -> list[StoredObject]:
            found: list[StoredObject] = []
            # The metadata tells the folders of an account with a hierarchical namespace from its files.
            for blob in access.container.list_blobs(prefix, include=["metadata"], results_per_page=_PAGE):
                if (blob.metadata or {}).get("hdi_isfolder") == "true":
                    continue
                if len(found) == most:
                    message = f"{place}: more than {most} objects; give a longer path"
                    raise ServingError(Code.RESOURCE_EXHAUSTED, message)
                found.append(_stored(blob))
            return found

        listed: list[StoredObject] = self._twice(place, "list", ask)
        return listed

    def described(self, item: StoredObject) -> StoredObject:
        """Return the object: its listing tells the checksum, if whoever wrote it has given one."""
        return item

    @contextmanager
    def open_range(self, item: StoredObject, start: int, length: int) -> Iterator[Iterator[bytes]]:
        """Open a range of exactly this ETag; see ObjectStore."""
        if length <= 0:
            yield iter(())
            return
        from azure.core import MatchConditions

        place = f"az://{self._name}/{item.key}"

        def ask(access: _Access) -> Any:
            return access.container.download_blob(
                item.key, start, length, etag=item.identity, match_condition=MatchConditions.IfNotModified,
                max_concurrency=1, decompress=False,
            )  # fmt: skip

        yield self._pieces(self._twice(place, "read", ask), place)

    def _pieces(self, download: Any, place: str) -> Iterator[bytes]:
        try:
            for chunk in download.chunks():
                view = memoryview(chunk)
                for start in range(0, len(view), PIECE_BYTES):
                    yield bytes(view[start : start + PIECE_BYTES])
        except Exception as error:
            raise _translated(error, place, "read", "") from None

    def _twice(self, place: str, doing: str, ask: Callable[[_Access], Any]) -> Any:
        """What ``ask`` returns; it is asked again, at once, if a connection was lost."""
        try:
            return self._once(place, doing, ask)
        except ConnectionLostError:
            return self._once(place, doing, ask)

    def _once(self, place: str, doing: str, ask: Callable[[_Access], Any]) -> Any:
        access = self._open(place)
        try:
            return ask(access)
        except Exception as error:
            problem = _translated(error, place, doing, access.kind)
        if problem.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED) and not self._options.anonymous:
            # There may be others by the next time: an identity's service has started.
            with self._guard:
                self._access = None if self._access is access else self._access
        raise problem

    def _open(self, place: str) -> _Access:
        with self._guard:
            if self._access is None:
                try:
                    self._access = self._connect()
                except Exception as error:
                    raise _translated(error, place, "find credentials", "azure-identity") from None
            return self._access

    def _connect(self) -> _Access:
        from azure.storage.blob import ContainerClient

        # It warns of each answer that was cut, and of every identity that it has looked for in vain.
        logging.getLogger("azure").setLevel(logging.ERROR)
        options = self._options
        credential: Any = self._account.credential()
        kind = self._account.kind
        if options.anonymous:
            credential, kind = None, ANONYMOUS
        elif credential is None:
            credential, kind = _identity(options)
        container = ContainerClient(
            self._account.url, self._name, credential,
            max_single_get_size=_REQUEST_BYTES, max_chunk_get_size=_REQUEST_BYTES,
            connection_timeout=options.connect_timeout, read_timeout=options.read_timeout, retry_total=0,
        )  # fmt: skip
        return _Access(kind, container)


def _identity(options: StoreOptions) -> tuple[Any, str]:
    """What azure-identity finds, and its kind; without it, or if it finds nothing, no credential."""
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError:
        return None, ANONYMOUS
    limits = {"connection_timeout": options.connect_timeout, "read_timeout": options.read_timeout, "retry_total": 1}
    credential = DefaultAzureCredential(process_timeout=int(options.connect_timeout) + 1, **limits)
    try:
        credential.get_token(_TOKEN_SCOPE)
    except ClientAuthenticationError:
        credential.close()
        if any(os.environ.get(name) for name in _IDENTITY):
            raise
        logger.info("No identity was found for Azure; it is asked without")
        return None, ANONYMOUS
    return credential, "azure-identity"


def _stored(blob: Any) -> StoredObject:
    md5 = blob.content_settings.content_md5
    return StoredObject(
        key=blob.name,
        size=blob.size or 0,
        identity='"{}"'.format(blob.etag.strip('"')),
        changed=blob.last_modified.timestamp() if blob.last_modified else None,
        md5=bytes(md5) if md5 else None,
    )


def _translated(error: Exception, place: str, doing: str, kind: str) -> ServingError:
    """The error that an exception of the SDK stands for. Texts of the SDK are not used: some hold signatures."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, ServingError):
        return error
    failed = network_failure(place, doing, error)
    if failed is not None:
        return failed
    if isinstance(error, HttpResponseError) and error.response is not None and error.status_code:
        if error.status_code < 300:
            return unintelligible(place, doing)
        told = getattr(error, "error_code", None) or error.reason or "refused"
        said = str(getattr(told, "value", told))  # an enumeration, for the reasons that the SDK knows
        code = Code.UNAUTHENTICATED if said in _NOT_KNOWN else code_of(error.status_code)
        return refusal(place, doing, code, f"{said} (HTTP {error.status_code})", kind)
    if type(error).__name__ == "AzureSigningError":
        return refusal(place, doing, Code.UNAUTHENTICATED, "the account's key is not Base64", kind)
    if isinstance(error, ClientAuthenticationError):
        return refusal(place, doing, Code.UNAUTHENTICATED, "no token was given for the identity", kind)
    return refusal(place, doing, Code.UNAVAILABLE, type(error).__name__, kind)
