"""What is Azure Blob Storage's own: its credentials, its pages, its folders that are blobs."""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import servers
from faulty_proxy import Fault, FaultyProxy
from http_servers import OwnServer, QuietHandler
from servers import BUCKET, AzureServer
from store_kinds import Azure

from ovms.config import ModelConfig
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage import Storages, azure_access, azure_listing
from ovms.storage.azure import AzureStore
from ovms.storage.azure_account import Account, find_account
from ovms.storage.object_store import StoreOptions
from tests.certificates import Certificates


def refusal(store: AzureStore) -> ServingError:
    with pytest.raises(ServingError) as caught:
        store.list_objects("x/", 10)
    return caught.value


def test_pages(
    azurite: AzureServer, proxied: Callable[..., FaultyProxy], monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    names = [f"{prefix}/{number:03}" for number in range(25)]
    for name in names:
        azurite.client.get_blob_client(BUCKET, name).upload_blob(b"x")
    proxy = proxied(azurite.url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string_by(proxy.url))
    monkeypatch.setattr(azure_listing, "PAGE", 10)
    assert [one.key for one in AzureStore(BUCKET, StoreOptions()).list_objects(prefix, 25)] == names
    assert proxy.count() == 3


def test_folders_of_a_hierarchical_namespace_are_no_objects(
    azurite: AzureServer, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    for name in ("1", "1/x"):
        metadata = {} if "/" in name else {"hdi_isfolder": "true"}
        azurite.client.get_blob_client(BUCKET, f"{prefix}/{name}").upload_blob(b"", metadata=metadata)
    listed = AzureStore(BUCKET, StoreOptions()).list_objects(prefix, 1)
    assert [one.key for one in listed] == [f"{prefix}/1/x"]


def test_an_account_and_its_key_in_variables(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", azurite.key)
    for given in (True, False):
        if given:
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", azurite.account)
        else:
            monkeypatch.delenv("AZURE_STORAGE_ACCOUNT")
        store = AzureStore(BUCKET, StoreOptions(endpoint=azurite.url))
        assert store.list_objects("nothing/", 10) == []
        assert store.credentials == "AZURE_STORAGE_KEY"


def test_signatures(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Azure(azurite)
    for name, value in kind.signature(read=True, list=True).items():
        monkeypatch.setenv(name, value)
    store = AzureStore(BUCKET, StoreOptions(endpoint=azurite.url))
    assert store.list_objects("nothing/", 10) == []
    assert store.credentials == "AZURE_STORAGE_SAS_TOKEN"
    for name, value in kind.signature(hours=-1, read=True, list=True).items():
        monkeypatch.setenv(name, value)
    error = refusal(AzureStore(BUCKET, StoreOptions(endpoint=azurite.url)))
    assert error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    assert "AZURE_STORAGE_SAS_TOKEN" in error.message
    assert "sig=" not in error.message


@pytest.mark.parametrize("given", ["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"])
def test_a_signature_is_not_sent_in_the_clear(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Except to this machine itself, where all other tests' servers are."""
    url = "http://store.invalid/acct"
    values = {
        "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=secret",
        "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={url};SharedAccessSignature=sv=1&sig=secret",
    }
    monkeypatch.setenv(given, values[given])
    storages = Storages(str(tmp_path))
    model = ModelConfig("m", f"az://{BUCKET}/m", endpoint=url)
    with pytest.raises(ConfigError) as caught:
        storages.open(model)
    said = f"az://{BUCKET}/m: {url}: the shared access signature of {given} is sent over TLS only; give an https"
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)
    storages.open(replace(model, anonymous=True))
    storages.open(replace(model, endpoint="https://store.invalid/acct"))
    local = replace(model, endpoint="http://127.0.0.1:1/acct")
    storages.open(local)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    with pytest.raises(ConfigError, match="over TLS only"):
        Storages(str(tmp_path)).open(local)  # which would leave this machine


def test_a_key_signs_without_tls_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "c2VjcmV0")
    AzureStore(BUCKET, StoreOptions(endpoint="http://127.0.0.1:1/acct"))
    assert not caplog.records
    AzureStore(BUCKET, StoreOptions(endpoint="http://store.invalid/acct"))
    (record,) = caplog.records
    assert "there is no TLS" in record.getMessage()
    assert "c2VjcmV0" not in record.getMessage()


def test_a_key_that_is_none(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "secret")
    error = refusal(AzureStore(BUCKET, StoreOptions(endpoint=azurite.url)))
    assert error.code is Code.UNAUTHENTICATED
    assert "not Base64" in error.message
    assert "secret" not in error.message


def test_what_a_key_signs_is_used_for_a_while(
    azurite: AzureServer, proxied: Callable[..., FaultyProxy], monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    azurite.client.get_blob_client(BUCKET, f"{prefix}/x").upload_blob(b"x")
    proxy = proxied(azurite.url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string_by(proxy.url))

    def signatures(store: AzureStore) -> list[str]:
        proxy.forget()
        for _ in range(2):
            (item,) = store.list_objects(prefix, 1)
            time.sleep(1.1)  # times of signatures are whole seconds
        with store.open_range(item, 0, 1) as pieces:
            assert list(pieces) == [b"x"]
        return [one.target.partition("&sig=")[2] for one in proxy.seen()]

    first, second, reading = signatures(AzureStore(BUCKET, StoreOptions()))
    assert first.partition("&")[0] == second.partition("&")[0] == reading.partition("&")[0] != ""
    monkeypatch.setattr(azure_access, "_SIGNED_SECONDS", 2.0)
    first, second, reading = signatures(AzureStore(BUCKET, StoreOptions()))
    assert len({first, second, reading}) == 3, "renewed when half of its time is over"


def test_no_account_is_known() -> None:
    with pytest.raises(ServingError, match="AZURE_STORAGE_CONNECTION_STRING") as caught:
        AzureStore(BUCKET, StoreOptions())
    assert caught.value.code is Code.FAILED_PRECONDITION


CLOUD = "https://acct.blob.core.windows.net"


@pytest.mark.parametrize(
    ("variables", "endpoint", "expected"),
    [
        ({}, None, Account()),
        ({"AZURE_STORAGE_ACCOUNT": "acct"}, None, Account(CLOUD, "acct")),
        ({}, "acct.blob.core.windows.net/", Account(CLOUD, "acct")),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "acct", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}, None,
            Account(CLOUD, "acct", "a2V5", "", "AZURE_STORAGE_ACCOUNT_KEY"),
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}, None,
            Account(CLOUD, "acct", "", "sv=1&sig=x", "AZURE_STORAGE_SAS_TOKEN"),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5="},
            None,
            Account(CLOUD, "acct", "a2V5=", "", "AZURE_STORAGE_CONNECTION_STRING"),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;EndpointSuffix=core.chinacloudapi.cn;"}, None,
            Account("https://a.blob.core.chinacloudapi.cn", "a"),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={CLOUD}/;SharedAccessSignature=sv=1&sig=x="}, None,
            Account(CLOUD, "acct", "", "sv=1&sig=x=", "AZURE_STORAGE_CONNECTION_STRING"),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acct;AccountKey=a2V5"}, "http://127.0.0.1:1/acct",
            Account("http://127.0.0.1:1/acct", "acct", "a2V5", "", "AZURE_STORAGE_CONNECTION_STRING"),
        ),
    ],
)  # fmt: skip
def test_accounts(variables: dict[str, str], endpoint: str | None, expected: Account) -> None:
    assert find_account(variables, endpoint) == expected
    assert "a2V5" not in repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "AccountKey=secret",
        ";;=;",
        "UseDevelopmentStorage=true",
        "BlobEndpoint=https://a.blob.core.windows.net/?sv=1&sig=secret",
    ],
)
def test_connection_strings_that_are_none(text: str) -> None:
    with pytest.raises(ServingError, match="AZURE_STORAGE_CONNECTION_STRING: ") as caught:
        find_account({"AZURE_STORAGE_CONNECTION_STRING": text}, None)
    assert "secret" not in caught.value.message


@pytest.fixture
def identities(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The service that gives a machine's tokens, as on App Service; it gives the first of the list, and no other."""
    tokens: list[str] = []

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            token = tokens[0] if tokens else ""
            self.send_response(200 if token else 400)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            answer = {"access_token": token, "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}
            self.wfile.write(json.dumps(answer if token else {"error": "none"}).encode())

    server = OwnServer(Handler)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    with server.running():
        yield tokens


def token(seconds: int = 3600) -> str:
    """One that Azurite takes, which looks at no signature."""
    now = int(time.time())
    claims = {
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/", "aud": "https://storage.azure.com",
        "iat": now - 10, "nbf": now - 10, "exp": now + seconds,
    }  # fmt: skip
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in [*parts, b"signature"])


def test_a_machines_own_identity(
    identities: list[str], certificates: Certificates, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates.ca)
    with servers.azurite((*certificates.tls, certificates.ca)) as server:
        server.client.get_blob_client(BUCKET, f"{prefix}/x").upload_blob(b"content")
        store = AzureStore(BUCKET, StoreOptions(endpoint=server.url))
        error = refusal(store)
        assert error.code is Code.UNAUTHENTICATED
        assert "identity" in error.message
        identities.append(token())
        (item,) = store.list_objects(prefix, 10)
        with store.open_range(item, 0, 7) as pieces:
            assert b"".join(pieces) == b"content"
        assert store.credentials == "azure-identity"
        assert identities[0] not in store.credentials


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.storage.blob", None)
    with pytest.raises(ServingError, match=r"pip install 'ovms\[azure\]'") as caught:
        AzureStore(BUCKET, StoreOptions())
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_without_azure_identity_it_is_asked_anonymously(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    store = AzureStore(servers.PUBLIC, StoreOptions(endpoint=azurite.url))
    assert store.list_objects("nothing/", 10) == []
    assert store.credentials == "anonymous"


@pytest.mark.parametrize(("status", "said"), [(409, "PublicAccessNotPermitted"), (404, "ResourceNotFound")])
def test_a_container_that_is_not_for_everybody(
    azurite: AzureServer, proxied: Callable[..., FaultyProxy], status: int, said: str
) -> None:
    """Azure has other words for it than 403 for whoever does not say who it is."""
    proxy = proxied(azurite.url)
    store = AzureStore(BUCKET, StoreOptions(endpoint=proxy.url, anonymous=True))
    with proxy.failing(Fault(status=status, headers=(("x-ms-error-code", said),))):
        error = refusal(store)
    assert error.code is Code.UNAUTHENTICATED
    assert "it was asked without credentials" in error.message


def test_another_etag_than_was_asked_for(
    azurite: AzureServer, proxied: Callable[..., FaultyProxy], monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Of a server, or a cache before it, that does not know If-Match."""
    azurite.client.get_blob_client(BUCKET, f"{prefix}/x").upload_blob(b"content")
    proxy = proxied(azurite.url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string_by(proxy.url))
    store = AzureStore(BUCKET, StoreOptions())
    (item,) = store.list_objects(prefix, 1)

    def read(etag: str) -> bytes:
        headers = (("ETag", etag), ("Content-Range", "bytes 0-6/7"))
        with (
            proxy.failing(Fault(status=206, headers=headers, body=b"changed")),
            store.open_range(item, 0, 7) as pieces,
        ):
            return b"".join(pieces)

    assert read(item.identity) == read(item.identity.strip('"')) == b"changed"
    with pytest.raises(ServingError, match="another ETag came") as caught:
        read('"0x1"')
    assert caught.value.code is Code.ABORTED
