"""The storage servers, one of each for the whole run, and an environment in which nothing points to another store."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

import servers
import store_kinds
from faulty_proxy import FaultyProxy
from gcs_accounts import GcsAccounts

from tests.certificates import Certificates, make_certificates

# What the SDKs read: nothing of a developer's may come into a test, least of all their keys.
_READ_BY_SDKS = (
    "AWS_", "S3_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "GCE_", "STORAGE_", "AZURE_", "MSI_", "IDENTITY_", "BOTO",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _no_clouds() -> Iterator[None]:
    """Only what a test sets itself; services of metadata, which virtual machines have, are not asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(_READ_BY_SDKS):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("NO_GCE_CHECK", "true")
        yield


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where SDKs find what belongs to a user; other folders of tests have their user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def seaweedfs(_no_clouds: None) -> Iterator[servers.S3Server]:
    with servers.seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def swift(_no_clouds: None) -> Iterator[servers.S3Server]:
    with servers.swift() as server:
        yield server


@pytest.fixture(scope="session")
def gcs(_no_clouds: None) -> Iterator[servers.GcsServer]:
    with servers.fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_accounts(gcs: servers.GcsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsAccounts]:
    with GcsAccounts(gcs.url, tmp_path_factory.mktemp("keys")).running() as accounts:
        yield accounts


@pytest.fixture(scope="session", params=store_kinds.NAMES)
def kind(request: pytest.FixtureRequest) -> store_kinds.StoreKind:
    """Each kind of store in turn."""
    return store_kinds.make_kind(request.param, request.getfixturevalue)


@pytest.fixture(scope="session")
def azurite(_no_clouds: None) -> Iterator[servers.AzureServer]:
    with servers.azurite() as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of a CA that nobody knows, for 127.0.0.1 and localhost."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses; without a slash at its end."""
    return f"test{next(_numbers)}"


@pytest.fixture
def proxied() -> Iterator[Callable[..., FaultyProxy]]:
    """Makes proxies, with the arguments of FaultyProxy; they are closed after the test."""
    made: list[FaultyProxy] = []

    def make(server: str, **options: object) -> FaultyProxy:
        made.append(FaultyProxy(server, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
