"""What is Google Cloud Storage's own: its credentials, its pages, its variables."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from gcs_accounts import READER, GcsAccounts
from google.oauth2.credentials import Credentials
from servers import BUCKET, GcsServer

from ovms.errors import Code, ConfigError, ServingError
from ovms.storage import gcs as product
from ovms.storage.gcs import GcsStore
from ovms.storage.gcs_token import GcsToken
from ovms.storage.object_store import StoreOptions

KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture
def store(gcs_accounts: GcsAccounts) -> GcsStore:
    return GcsStore(BUCKET, StoreOptions(endpoint=gcs_accounts.url, connect_timeout=0.5, read_timeout=0.5))


def refusal(store: GcsStore) -> ServingError:
    with pytest.raises(ServingError) as caught:
        store.list_objects("x/", 10)
    return caught.value


def test_pages(
    gcs: GcsServer, proxied: Callable[..., FaultyProxy], monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    names = [f"{prefix}/{number:03}" for number in range(25)]
    for name in names:
        gcs.client.bucket(BUCKET).blob(name).upload_from_string(b"x")
    proxy = proxied(gcs.url)
    store = GcsStore(BUCKET, StoreOptions(endpoint=proxy.url, anonymous=True))
    monkeypatch.setattr(product, "_PAGE", 10)
    assert [one.key for one in store.list_objects(prefix, 25)] == names
    assert proxy.count() == 3
    proxy.forget()
    with pytest.raises(ServingError, match="more than 12 objects"):
        store.list_objects(prefix, 12)
    assert proxy.count() == 2, "no page that is not needed"


def test_the_checksums_are_those_of_the_content(gcs: GcsServer, prefix: str) -> None:
    gcs.client.bucket(BUCKET).blob(f"{prefix}/x").upload_from_string(b"123456789")
    (item,) = GcsStore(BUCKET, StoreOptions(endpoint=gcs.url, anonymous=True)).list_objects(prefix, 1)
    assert item.crc32c == bytes.fromhex("e3069283")  # the check value of CRC-32C
    assert item.md5 == bytes.fromhex("25f9e794323b453885f5181f1b624d0b")


def test_the_emulators_variable(gcs: GcsServer, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    gcs.client.bucket(BUCKET).blob(f"{prefix}/x").upload_from_string(b"x")
    for value in (f"{gcs.url}/", gcs.url.removeprefix("http://")):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", value)
        store = GcsStore(BUCKET, StoreOptions())
        assert len(store.list_objects(prefix, 1)) == 1
        assert store.credentials == "anonymous"


def test_a_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://")
    with pytest.raises(ConfigError, match="STORAGE_EMULATOR_HOST: 'http://' is not the URL of a server"):
        GcsStore(BUCKET, StoreOptions())


def test_a_token_that_is_not_good_any_more_is_renewed(
    store: GcsStore, gcs_accounts: GcsAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_FILE, str(gcs_accounts.key_file(READER)))
    store.list_objects("x/", 10)
    given = gcs_accounts.given
    store.list_objects("x/", 10)
    assert gcs_accounts.given == given
    gcs_accounts.revoke()
    store.list_objects("x/", 10)
    assert gcs_accounts.given == given + 1
    assert store.credentials == f"{KEY_FILE}: service account"


def test_a_token_is_kept_as_long_as_it_is_good() -> None:
    """google-auth is asked each time once it may want to renew it."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    credentials = Credentials("first", expiry=now + timedelta(seconds=3600))  # type: ignore[no-untyped-call]  # google-auth has no types
    token = GcsToken(credentials, (1.0, 1.0))
    assert token.headers("https://store/")["authorization"] == "Bearer first"
    credentials.token = "second"
    assert token.headers("https://store/")["authorization"] == "Bearer first"
    credentials.expiry = now + timedelta(seconds=290)
    token = GcsToken(credentials, (1.0, 1.0))
    assert token.headers("https://store/")["authorization"] == "Bearer second"
    credentials.token = "third"
    assert token.headers("https://store/")["authorization"] == "Bearer third"


def test_a_token_that_was_renewed_meanwhile_is_not_kept() -> None:
    """What another thread was given before would be refused for as long as it is kept."""

    class Renewing(Credentials):
        def before_request(self, request: object, method: str, url: str, headers: dict[str, str]) -> None:
            super().before_request(request, method, url, headers)  # type: ignore[no-untyped-call]  # google-auth has no types
            if self.token == "old":
                token.renew()

        def refresh(self, request: object) -> None:
            self.token = "new"

    token = GcsToken(Renewing("old"), (1.0, 1.0))  # type: ignore[no-untyped-call]  # google-auth has no types
    assert token.headers("https://store/")["authorization"] == "Bearer old"
    assert token.headers("https://store/")["authorization"] == "Bearer new"


def test_a_key_file_that_is_replaced(
    store: GcsStore, gcs_accounts: GcsAccounts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key.json"
    monkeypatch.setenv(KEY_FILE, str(file))
    error = refusal(store)
    assert error.code is Code.UNAUTHENTICATED
    assert "key.json was not found" in error.message
    file.write_text('{"type": "service_account", "private_key": "mine"}')
    error = refusal(store)
    assert error.code is Code.UNAUTHENTICATED
    assert "mine" not in error.message
    file.write_text("private")
    error = refusal(store)
    assert error.code is Code.UNAUTHENTICATED
    assert "not a valid json file" in error.message
    file.write_text(gcs_accounts.key_file(READER, forged=True).read_text())
    error = refusal(store)
    assert error.code is Code.UNAUTHENTICATED
    assert "Invalid JWT Signature" in error.message
    file.write_text(gcs_accounts.key_file(READER).read_text())
    assert store.list_objects("x/", 10) == []


ASKED_TWICE = """
import sys
from ovms.errors import ServingError
from ovms.storage.gcs import GcsStore
from ovms.storage.gcs_token import GcsToken
from ovms.storage.object_store import StoreOptions
store = GcsStore(sys.argv[1], StoreOptions(endpoint=sys.argv[2]))
try:
    store.list_objects("x/", 10)
except ServingError as error:
    print(error.code.name, flush=True)
input()
print(store.list_objects("x/", 10), store.credentials)
"""


def test_a_machines_own_account(gcs_accounts: GcsAccounts, proxied: Callable[..., FaultyProxy]) -> None:
    """It is found without a restart, too, when its metadata server comes later than the server that asks for it."""
    metadata = proxied(gcs_accounts.url)
    metadata.fail(Fault(refuse=True))
    environment = {name: value for name, value in os.environ.items() if name != "NO_GCE_CHECK"}
    environment |= dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP"), f"127.0.0.1:{metadata.port}")
    command = [sys.executable, "-c", ASKED_TWICE, BUCKET, gcs_accounts.url]
    with subprocess.Popen(
        command, env=environment, cwd=Path(product.__file__).parents[2], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "UNAUTHENTICATED\n"
        metadata.heal()
        out, log = process.communicate("\n", timeout=60)
    assert (out, log) == ("[] application default credentials: metadata server\n", "")


@pytest.mark.timed
def test_a_token_server_that_hangs(
    store: GcsStore,
    gcs_accounts: GcsAccounts,
    proxied: Callable[..., FaultyProxy],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    proxy = proxied(gcs_accounts.url)
    key = json.loads(gcs_accounts.key_file(READER).read_text())
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key | {"token_uri": f"{proxy.url}/token"}))
    monkeypatch.setenv(KEY_FILE, str(file))
    began = time.monotonic()
    with proxy.failing(Fault(hang=True)):
        assert refusal(store).code is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5
    with proxy.failing(Fault(status=503, body=b"{}")):
        assert refusal(store).code is Code.UNAVAILABLE
    assert store.list_objects("x/", 10) == []


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", None)
    with pytest.raises(ServingError, match=r"pip install 'ovms\[gcs\]'") as caught:
        GcsStore(BUCKET, StoreOptions())
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_a_token_is_not_sent_in_the_clear(gcs_accounts: GcsAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except to this machine itself, where all other tests' servers are."""
    monkeypatch.setenv(KEY_FILE, str(gcs_accounts.key_file(READER)))
    error = refusal(GcsStore(BUCKET, StoreOptions(endpoint="http://store.invalid", connect_timeout=0.5)))
    assert error.code is Code.FAILED_PRECONDITION
    assert "a token is sent over TLS only" in error.message
