"""Objects on Azure Blob Storage, and on servers of its protocol."""

import binascii
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from http.client import responses
from importlib import import_module
from typing import Final
from urllib.parse import quote

from ovms.errors import Code, ServingError
from ovms.storage.azure_access import IDENTITY, AzureAccess, connect
from ovms.storage.azure_account import ACCOUNTS, CONNECTION_STRING, Account, find_account
from ovms.storage.azure_listing import listing_query, read_listing
from ovms.storage.cloud_errors import ANONYMOUS, code_of, network_failure, refusal, unintelligible
from ovms.storage.http_get import Answer, OpenAnswer
from ovms.storage.known_listings import Contents, KnownListings, Page
from ovms.storage.object_store import StoredObject, StoreOptions
from ovms.storage.plain_http import safe_for_secrets
from ovms.storage.ranged_get import reading, send_get
from ovms.storage.way_in import WayIn, http_get

_PROTOCOL: Final = {"x-ms-version": "2021-12-02"}
# Both come with the status 403.
_NOT_KNOWN: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")


_NOT_FOR_ALL: Final = ((409, "PublicAccessNotPermitted"), (404, "ResourceNotFound"))
"""How a container that is there refuses whoever does not say who it is."""

logger = logging.getLogger(__name__)


class AzureStore:
    """One container of the account that the environment or the options name. An ``ObjectStore``.

    The SDK signs. Its listings take many times the processor time of ours, and it would hold parts of an object in
    memory, of which each costs a request.

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
        self._account = find_account(os.environ, options.endpoint)
        if not self._account.url:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"which storage account has it is not known; set {CONNECTION_STRING} or {ACCOUNTS[0]}, or give the "
                "endpoint, such as https://ACCOUNT.blob.core.windows.net",
            )
        self._url = f"{self._account.url}/{quote(container)}"
        if not options.anonymous and self._account.kind and not safe_for_secrets(self._account.url):
            self._consider(self._account)
        self._http = http_get(options)
        self._listings = KnownListings()
        self._way_in = WayIn(partial(connect, self._account, container, options), _translated, IDENTITY)

    def _consider(self, account: Account) -> None:
        """What others may read on the way: what lets anybody in for as long as its owner likes is not sent."""
        if not account.key:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{account.url}: the shared access signature of {account.kind} is sent over TLS only; give an https "
                "endpoint, or anonymous",
            )
        logger.warning(
            "%s: there is no TLS: with what the key of %s signs, whoever sees a request can list and read the "
            "container %s for up to an hour; give an https endpoint", account.url, account.kind, self._name,
        )  # fmt: skip

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
        ask = partial(self._page, place, prefix)
        return self._listings.objects(place, prefix, most, ask, partial(unintelligible, place, "list"))

    def _page(self, place: str, prefix: str, marker: str) -> Page:
        query = listing_query(prefix, marker)

        def ask(access: AzureAccess) -> bytes:
            proof, headers = access.proof()
            url = f"{self._url}?{query}&{proof}" if proof else f"{self._url}?{query}"
            answer = self._http.page(url, headers | _PROTOCOL)
            if answer.status != 200:
                raise _refused(place, "list", answer, access.kind)
            return answer.body

        def read() -> Contents:
            try:
                return read_listing(body)
            except (ValueError, LookupError):
                raise unintelligible(place, "list") from None

        body: bytes = self._way_in.use(place, "list", ask)
        return Page(body, read)

    def forget(self, prefix: str) -> None:
        """See ObjectStore."""
        self._listings.forget(prefix)

    def described(self, item: StoredObject) -> StoredObject:
        """Return the object: its listing tells the checksum, if whoever wrote it has given one."""
        return item

    def open_range(self, item: StoredObject, start: int, length: int) -> AbstractContextManager[Iterator[bytes]]:
        """Open a range of exactly this ETag; see ObjectStore."""
        place = f"az://{self._name}/{item.key}"
        get = partial(self._get, place=place, item=item, start=start, length=length)
        return reading(self._way_in, get, place, start, length)

    def _get(self, access: AzureAccess, place: str, item: StoredObject, start: int, length: int) -> OpenAnswer:
        proof, headers = access.proof()
        url = f"{self._url}/{quote(item.key)}" + (f"?{proof}" if proof else "")
        headers |= _PROTOCOL | {"If-Match": item.identity}
        answer = send_get(self._http, url, headers, start, length)
        if answer.status not in (200, 206):
            answer.close()
            raise _refused(place, "read", answer, access.kind)
        # Servers of its protocol, and what is between, may not know If-Match.
        if answer.headers.get("etag", item.identity).strip('"') != item.identity.strip('"'):
            answer.close()
            raise refusal(place, "read", Code.ABORTED, "another ETag came", access.kind)
        return answer


def _refused(place: str, doing: str, answer: Answer | OpenAnswer, kind: str) -> ServingError:
    status = answer.status
    said = answer.headers.get("x-ms-error-code") or responses.get(status, "refused")
    code = Code.UNAUTHENTICATED if said in _NOT_KNOWN else code_of(status)
    if kind == ANONYMOUS and (status, said) in _NOT_FOR_ALL:
        code = Code.UNAUTHENTICATED
    return refusal(place, doing, code, f"{said} (HTTP {status})", kind)


def _translated(error: Exception, place: str, doing: str, kind: str) -> ServingError:
    """The error that an exception stands for. Texts of the SDK are not used: some hold signatures."""
    from azure.core.exceptions import ClientAuthenticationError

    if isinstance(error, ServingError):
        return error
    failed = network_failure(place, doing, error)
    if failed is not None:
        return failed
    if isinstance(error, binascii.Error):
        return refusal(place, doing, Code.UNAUTHENTICATED, "the account's key is not Base64", kind)
    if isinstance(error, ClientAuthenticationError):
        return refusal(place, doing, Code.UNAUTHENTICATED, "no token was given for the identity", kind)
    return refusal(place, doing, Code.UNAVAILABLE, type(error).__name__, kind)
