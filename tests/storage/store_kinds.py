"""Every kind of store under one face, so that one test holds for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Protocol

import gcs_accounts
import servers
from servers import BUCKET

from ovms.storage.object_store import ObjectStore, StoreOptions

NAMES: Final = ("s3", "gcs", "azure")

OWNER: Final = "owner"
"""May ask for any bucket, also for one that is not there."""
READER: Final = "reader"
"""May list and read BUCKET."""
LISTER: Final = "lister"
"""May list BUCKET and not read."""
STRANGER: Final = "stranger"
"""Is known, and may not list BUCKET."""
FORGER: Final = "forger"
"""Has a wrong secret."""
NOBODY: Final = "nobody"
"""Has no credentials."""


class StoreKind(Protocol):
    """A running server of one kind, and how the product gets to it."""

    name: str
    url: str
    """Of the server, as the product is given it."""

    scheme: str
    """Of paths."""

    not_known: tuple[str, ...]
    """Names of the codes for FORGER: emulators do not tell all that the cloud does."""

    credentials: str
    """Those of READER, as they are told."""

    listings: str
    """Pattern of the targets of listings."""

    reads: str
    """Pattern of the targets of all that reads an object."""

    ca_variable: str
    """The variable for a CA bundle."""

    def put(self, key: str, content: bytes, bucket: str = BUCKET, encoding: str | None = None) -> None:
        """Store an object; `encoding` is what its Content-Encoding says."""
        ...

    def delete(self, key: str) -> None:
        """Take an object away."""
        ...

    def environment(self, who: str) -> Mapping[str, str]:
        """The variables that give somebody's credentials."""
        ...

    def secrets(self) -> list[str]:
        """What must not be seen in any text."""
        ...

    def open(self, bucket: str, options: StoreOptions) -> ObjectStore:
        """The product's store."""
        ...


class S3:
    name, scheme, ca_variable = "s3", "s3", "AWS_CA_BUNDLE"
    credentials = "environment variables"
    listings, reads = r"list-type=2", rf"^/{BUCKET}/[^?]"
    not_known = ("UNAUTHENTICATED",)

    def __init__(self, server: servers.S3Server) -> None:
        self._client = server.client
        self.url = server.url

    def put(self, key: str, content: bytes, bucket: str = BUCKET, encoding: str | None = None) -> None:
        others = {"ContentEncoding": encoding} if encoding else {}
        self._client.put_object(Bucket=bucket, Key=key, Body=content, **others)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=key)

    def environment(self, who: str) -> Mapping[str, str]:
        if who == NOBODY:
            return {}
        keys = {
            OWNER: servers.ADMIN,
            LISTER: servers.LISTER,
            STRANGER: servers.STRANGER,
            FORGER: (servers.READER[0], "wrongsecret"),
        }
        return dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), keys.get(who, servers.READER), strict=True))

    def secrets(self) -> list[str]:
        return ["wrongsecret", *(secret for _, secret in (servers.READER, servers.LISTER, servers.STRANGER))]

    def open(self, bucket: str, options: StoreOptions) -> ObjectStore:
        from ovms.storage.s3 import S3Store

        return S3Store(bucket, replace(options, region="us-east-1"))


class Gcs:
    name, scheme, ca_variable = "gcs", "gs", "REQUESTS_CA_BUNDLE"
    credentials = "GOOGLE_APPLICATION_CREDENTIALS: service account"
    listings, reads = r"^/storage/.*/o\?", r"^/download/"
    not_known = ("UNAUTHENTICATED",)

    def __init__(self, server: servers.GcsServer, accounts: gcs_accounts.GcsAccounts) -> None:
        self._client, self.accounts = server.client, accounts
        self.url = accounts.url

    def put(self, key: str, content: bytes, bucket: str = BUCKET, encoding: str | None = None) -> None:
        blob = self._client.bucket(bucket).blob(key)
        blob.content_encoding = encoding
        blob.upload_from_string(content)

    def delete(self, key: str) -> None:
        self._client.bucket(BUCKET).blob(key).delete()

    def environment(self, who: str) -> Mapping[str, str]:
        if who == NOBODY:
            return {}
        accounts = {LISTER: gcs_accounts.LISTER, STRANGER: gcs_accounts.STRANGER}
        file = self.accounts.key_file(accounts.get(who, gcs_accounts.READER), forged=who == FORGER)
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}

    def secrets(self) -> list[str]:
        return self.accounts.secrets()

    def open(self, bucket: str, options: StoreOptions) -> ObjectStore:
        from ovms.storage.gcs import GcsStore

        return GcsStore(bucket, options)


class Azure:
    name, scheme, ca_variable = "azure", "az", "REQUESTS_CA_BUNDLE"
    # The cloud says AuthenticationFailed, and Azurite AuthorizationFailure, which there means a firewall.
    not_known = ("UNAUTHENTICATED", "PERMISSION_DENIED")
    credentials = "AZURE_STORAGE_CONNECTION_STRING"
    listings, reads = r"comp=list", rf"/{BUCKET}/[^?]"

    def __init__(self, server: servers.AzureServer) -> None:
        self._server = server
        self.url = server.url

    def put(self, key: str, content: bytes, bucket: str = BUCKET, encoding: str | None = None) -> None:
        from azure.storage.blob import ContentSettings

        settings = ContentSettings(content_encoding=encoding)
        self._server.client.get_blob_client(bucket, key).upload_blob(content, overwrite=True, content_settings=settings)

    def delete(self, key: str) -> None:
        self._server.client.get_blob_client(BUCKET, key).delete_blob()

    def environment(self, who: str) -> Mapping[str, str]:
        if who == NOBODY:
            return {}
        if who in (OWNER, READER, FORGER):
            string = self._server.connection_string
            if who == FORGER:
                string = string.replace(self._server.key, self._server.key[::-1].replace("=", "") + "==")
            return {"AZURE_STORAGE_CONNECTION_STRING": string}
        return self.signature(list=who == LISTER, write=True)

    def signature(self, hours: float = 1, **permissions: bool) -> Mapping[str, str]:
        """The variables for a shared access signature that is good for so long, and for this."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        now = datetime.now(timezone.utc)
        sas = generate_container_sas(
            self._server.account, BUCKET, self._server.key, permission=ContainerSasPermissions(**permissions),
            expiry=now + timedelta(hours=hours), start=now - timedelta(days=1),
        )  # fmt: skip
        return {"AZURE_STORAGE_ACCOUNT": self._server.account, "AZURE_STORAGE_SAS_TOKEN": sas}

    def secrets(self) -> list[str]:
        return [self._server.key, self._server.key[::-1][2:], "sig=", "SharedKey "]

    def open(self, bucket: str, options: StoreOptions) -> ObjectStore:
        from ovms.storage.azure import AzureStore

        return AzureStore(bucket, options)


def make_kind(name: str, fixture: Callable[[str], Any]) -> StoreKind:
    """The kind of this name; `fixture` gives the fixtures of servers by their names."""
    if name == "s3":
        return S3(fixture("seaweedfs"))
    if name == "gcs":
        return Gcs(fixture("gcs"), fixture("gcs_accounts"))
    return Azure(fixture("azurite"))
