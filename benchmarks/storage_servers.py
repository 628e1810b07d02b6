"""The storage servers of the benchmarks: those of the tests, each under one face."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from benchmarks.process import ROOT

sys.path.append(str(ROOT / "tests" / "storage"))

import gcs_accounts
import servers

CONTAINER: Final = servers.BUCKET
"""Bucket or container."""

NOT_INSTALLED: Final = (pytest.skip.Exception,)
"""What a server's program that is missing is told by."""


@dataclass(frozen=True)
class StorageServer:
    """A running server of one kind."""

    name: str
    sdk: str
    scheme: str

    endpoint: str
    """For large objects."""

    reading: Mapping[str, str]
    """The variables that let somebody read these."""

    listing_endpoint: str
    """For many looks."""

    listing: Mapping[str, str]
    """The variables for that."""

    upload: Callable[[Path, str], object]
    """Stores a file under a key."""


@contextlib.contextmanager
def s3() -> Iterator[StorageServer]:
    """SeaweedFS, with keys."""
    with servers.seaweedfs() as server:
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        keys["AWS_REGION"] = "us-east-1"

        def upload(path: Path, key: str) -> None:
            server.client.upload_file(str(path), CONTAINER, key)

        yield StorageServer("S3", "boto3", "s3", server.url, keys, server.url, keys, upload)


@contextlib.contextmanager
def gcs() -> Iterator[StorageServer]:
    """fake-gcs-server, which asks nobody who they are; so its listings go by somebody who asks for a token."""
    with servers.fake_gcs() as server, tempfile.TemporaryDirectory() as folder:
        bucket = server.client.bucket(CONTAINER)
        with gcs_accounts.GcsAccounts(server.url, Path(folder)).running() as accounts:
            key_file = {"GOOGLE_APPLICATION_CREDENTIALS": str(accounts.key_file(gcs_accounts.READER))}
            nobody = {"STORAGE_EMULATOR_HOST": server.url}

            def upload(path: Path, key: str) -> None:
                bucket.blob(key).upload_from_filename(str(path))

            sdk = "google-cloud-storage"
            yield StorageServer("GCS", sdk, "gs", server.url, nobody, accounts.url, key_file, upload)


@contextlib.contextmanager
def azure() -> Iterator[StorageServer]:
    """Azurite, with an account's key."""
    with servers.azurite() as server:
        key = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string}

        def upload(path: Path, name: str) -> None:
            with path.open("rb") as file:
                server.client.get_blob_client(CONTAINER, name).upload_blob(file)

        yield StorageServer("Azure", "azure-storage-blob", "az", server.url, key, server.url, key, upload)


SERVERS: Final[Mapping[str, Callable[[], AbstractContextManager[StorageServer]]]] = {
    "S3 (SeaweedFS)": s3,
    "GCS (fake-gcs-server)": gcs,
    "Azure (Azurite)": azure,
}
"""Name of the store -> what starts its server."""
