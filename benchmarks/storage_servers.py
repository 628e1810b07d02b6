"""The storage servers of the benchmarks: those of the tests, each under one face."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CONTAINER: Final = "models"
"""Bucket or container."""


@dataclass(frozen=True)
class StorageServer:
    """A running server of one kind."""

    name: str
    scheme: str
    endpoint: str
    """For large objects."""

    upload: Callable[[Path, str], object]
    """Stores a file under a key."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables that give credentials."""

    listing_endpoint: str = ""
    """For listings, if that is another one."""


@contextlib.contextmanager
def s3() -> Iterator[StorageServer]:
    """SeaweedFS, with keys."""
    from tests.storage import servers

    with servers.seaweedfs() as server:
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        keys["AWS_REGION"] = "us-east-1"
        yield StorageServer(
            "S3", "s3", server.url, lambda path, key: server.client.upload_file(str(path), CONTAINER, key), keys
        )


@contextlib.contextmanager
def gcs() -> Iterator[StorageServer]:
    """fake-gcs-server; its listings are asked for with a service account's token, which somebody before it checks."""
    from tests.storage import gcs_accounts, servers

    with servers.fake_gcs() as server, tempfile.TemporaryDirectory() as folder:
        bucket = server.client.bucket(CONTAINER)
        with gcs_accounts.GcsAccounts(server.url, Path(folder)).running() as accounts:
            key = accounts.key_file(gcs_accounts.READER)
            yield StorageServer(
                "GCS", "gs", server.url, lambda path, key: bucket.blob(key).upload_from_filename(str(path)),
                {"GOOGLE_APPLICATION_CREDENTIALS": str(key)}, accounts.url,
            )  # fmt: skip


@contextlib.contextmanager
def azure() -> Iterator[StorageServer]:
    """Azurite, with an account's key."""
    from tests.storage import servers

    def upload(client: object, path: Path, key: str) -> None:
        with path.open("rb") as file:
            client.get_blob_client(CONTAINER, key).upload_blob(file)  # type: ignore[attr-defined]

    with servers.azurite() as server:
        yield StorageServer(
            "Azure", "az", server.url, functools.partial(upload, server.client),
            {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string},
        )  # fmt: skip


SERVERS: Final[Mapping[str, Callable[[], AbstractContextManager[StorageServer]]]] = {
    "S3": s3, "GCS": gcs, "Azure": azure,
}  # fmt: skip
"""Name of the store -> what starts its server."""
