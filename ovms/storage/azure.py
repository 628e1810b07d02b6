"""Objects on Azure Blob Storage, and on servers of its protocol."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote

from ovms.errors import Code, ServingError
from ovms.storage.azure_account import ACCOUNTS, CONNECTION_STRING, find_account
from ovms.storage.cloud_errors import ANONYMOUS, code_of, network_failure, refusal, unintelligible
from ovms.storage.object_store import StoredObject, StoreOptions
from ovms.storage.ranged_get import keep_connections, reading, send_get
from ovms.storage.way_in import WayIn

IDENTITY: Final = "azure-identity"

_TOKEN_SCOPE: Final = "https://storage.azure.com/.default"
_PAGE: Final = 5000
_PROTOCOL: Final = "2021-12-02"
_SIGNED_SECONDS: Final = 3600.0
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
    session: Any

    proof: Callable[[], tuple[str, dict[str, str]]]
    """Gives a query and headers for a request."""


class AzureStore:
    """One container of the account that the environment or the options name. An ``ObjectStore``.

    The SDK lists. It would hold parts of an object in memory, of which each costs a request; so objects are read with a
    session of our own.

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
        self._timeout = (options.connect_timeout, options.read_timeout)
        self._way_in = WayIn(self._connect, _translated, IDENTITY)

    @property
    def server(self) -> str:
        """The URL of the account's blob service."""
        return self._account.url

    @property
    def credentials(self) -> str:
        """The kind of the credentials; looks for them if none have been used yet."""
        return self._way_in.open(f"az://{self._name}").kind

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

        listed: list[StoredObject] = self._way_in.use(place, "list", ask)
        return listed

    def described(self, item: StoredObject) -> StoredObject:
        """Return the object: its listing tells the checksum, if whoever wrote it has given one."""
        return item

    def open_range(self, item: StoredObject, start: int, length: int) -> AbstractContextManager[Iterator[bytes]]:
        """Open a range of exactly this ETag; see ObjectStore."""
        place = f"az://{self._name}/{item.key}"
        get = partial(self._get, place=place, item=item, start=start, length=length)
        return reading(self._way_in, get, place, start, length)

    def _get(self, access: _Access, place: str, item: StoredObject, start: int, length: int) -> Any:
        query, headers = access.proof()
        url = f"{self._account.url}/{quote(self._name)}/{quote(item.key)}{query}"
        headers |= {"x-ms-version": _PROTOCOL, "If-Match": item.identity}
        answer = send_get(access.session, url, headers, start, length, self._timeout)
        if answer.status_code not in (200, 206):
            answer.close()
            said = str(answer.headers.get("x-ms-error-code") or answer.reason or "refused")
            raise _refused(place, "read", answer.status_code, said, access.kind)
        return answer

    def _connect(self) -> _Access:
        from azure.storage.blob import ContainerClient
        from requests import Session

        # It warns of each answer that was cut, and of every identity that it has looked for in vain.
        logging.getLogger("azure").setLevel(logging.ERROR)
        options = self._options
        credential: Any = self._account.credential()
        kind = self._account.kind
        if options.anonymous:
            credential, kind = None, ANONYMOUS
        elif credential is None:
            credential, kind = _identity(options)
        if kind == IDENTITY and not self._account.url.startswith("https:"):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{self._account.url}: an identity's token is sent over TLS only; give an https endpoint, or anonymous",
            )
        container = ContainerClient(
            self._account.url, self._name, credential,
            connection_timeout=options.connect_timeout, read_timeout=options.read_timeout, retry_total=0,
        )  # fmt: skip
        session = Session()
        keep_connections(session)
        return _Access(kind, container, session, partial(self._proof, credential))

    def _proof(self, credential: Any) -> tuple[str, dict[str, str]]:
        """Query and headers that let a request in."""
        if credential is None:
            return "", {}
        if isinstance(credential, str):
            return f"?{credential}", {}
        if isinstance(credential, dict):
            from azure.storage.blob import ContainerSasPermissions, generate_container_sas

            expiry = datetime.now(timezone.utc) + timedelta(seconds=_SIGNED_SECONDS)
            signature = generate_container_sas(
                self._account.name, self._name, self._account.key,
                permission=ContainerSasPermissions(read=True), expiry=expiry,
            )  # fmt: skip
            return f"?{signature}", {}
        return "", {"Authorization": f"Bearer {credential.get_token(_TOKEN_SCOPE).token}"}


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
    return credential, IDENTITY


def _stored(blob: Any) -> StoredObject:
    md5 = blob.content_settings.content_md5
    return StoredObject(
        key=blob.name,
        size=blob.size or 0,
        identity='"{}"'.format(blob.etag.strip('"')),
        changed=blob.last_modified.timestamp() if blob.last_modified else None,
        md5=bytes(md5) if md5 else None,
    )


def _refused(place: str, doing: str, status: int, said: str, kind: str) -> ServingError:
    code = Code.UNAUTHENTICATED if said in _NOT_KNOWN else code_of(status)
    return refusal(place, doing, code, f"{said} (HTTP {status})", kind)


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
        return _refused(place, doing, error.status_code, said, kind)
    if type(error).__name__ == "AzureSigningError":
        return refusal(place, doing, Code.UNAUTHENTICATED, "the account's key is not Base64", kind)
    if isinstance(error, ClientAuthenticationError):
        return refusal(place, doing, Code.UNAUTHENTICATED, "no token was given for the identity", kind)
    return refusal(place, doing, Code.UNAVAILABLE, type(error).__name__, kind)
