"""Keys and certificates of S3 that do not do, or not yet: what a served model says of them, and what puts it right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from ovms_client import Client
from remote_models import RemoteModels, keys, message, until_message
from repository import serving_file, until_answer
from server_under_test import Server
from servers import LISTER, READER, STRANGER, S3Server

from tests.certificates import Certificates


@pytest.fixture
def models(seaweedfs: S3Server, prefix: str, tmp_path: Path) -> RemoteModels:
    return RemoteModels(seaweedfs, prefix, tmp_path)


@contextmanager
def one_model(models: RemoteModels, endpoint: str, **environment: str) -> Iterator[tuple[Server, Client]]:
    """A server that logs all it can of the model m."""
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=endpoint))
    with serving_file(file, *models.options, LOG_LEVEL="DEBUG", **environment) as (server, client):
        yield server, client


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ((READER[0], "not-the-secret"), ("UNAUTHENTICATED", "SignatureDoesNotMatch", "check the keys")),
        (("nobody-knows-this", "nor-this-secret"), ("UNAUTHENTICATED", "InvalidAccessKeyId", "check the keys")),
        (STRANGER, ("PERMISSION_DENIED", "AccessDenied", "s3:ListBucket")),
        (LISTER, ("Error occurred while loading version: s3://", "AccessDenied", "s3:GetObject")),
        (None, ("PERMISSION_DENIED", "AccessDenied", "no credentials were found")),
    ],
    ids=["wrong secret", "unknown key", "may not list", "may not read", "nobody"],
)
def test_credentials_that_do_not_do(
    seaweedfs: S3Server, models: RemoteModels, user: tuple[str, str] | None, words: tuple[str, ...]
) -> None:
    environment = {"AWS_EC2_METADATA_DISABLED": "true"} | (keys(user) if user else {})
    with one_model(models, seaweedfs.url, **environment) as (server, client):
        until_message(client, "m", *words)
        assert user is None or not [secret for secret in user if secret in server.text + message(client, "m")]


def test_keys_that_are_put_right(seaweedfs: S3Server, models: RemoteModels, tmp_path: Path) -> None:
    """As when a secret that is mounted as a file is renewed."""
    file = tmp_path / "credentials"

    def write(secret: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {secret}\n")

    write("expired-long-ago")
    with one_model(models, seaweedfs.url, AWS_SHARED_CREDENTIALS_FILE=str(file)) as (server, client):
        until_message(client, "m", "UNAUTHENTICATED")
        write(READER[1])
        until_answer(client, "m", 1)
        write("expired-again-now")
        models.put("m", 2)  # the keys that are known still do
        until_answer(client, "m", 2)
        assert READER[1] not in server.text
        assert "expired-" not in server.text


def test_keys_that_come_late(seaweedfs: S3Server, models: RemoteModels, tmp_path: Path) -> None:
    """As of a role that the machine gets only once it has started."""
    file = tmp_path / "credentials"
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_EC2_METADATA_DISABLED": "true"}
    with one_model(models, seaweedfs.url, **environment) as (_, client):
        until_message(client, "m", "PERMISSION_DENIED", "no credentials were found")
        file.write_text(f"[default]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {READER[1]}\n")
        until_answer(client, "m", 1)


def test_a_ca_of_one_s_own(
    seaweedfs: S3Server, models: RemoteModels, proxied: Callable[..., FaultyProxy], certificates: Certificates
) -> None:
    proxy = proxied(seaweedfs.url, tls=certificates.tls)
    with one_model(models, proxy.url, AWS_CA_BUNDLE=certificates.ca, **keys()) as (_, client):
        until_answer(client, "m", 1)
    assert proxy.count() >= 3
