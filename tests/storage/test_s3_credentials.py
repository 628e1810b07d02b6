"""Where S3 credentials come from: each link of the SDK's chain, with the services that give them answered here."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from servers import BUCKET, READER, S3Server

from ovms.errors import Code, ConfigError, ServingError
from ovms.storage import http_get, s3_client
from ovms.storage.object_store import StoreOptions
from ovms.storage.s3 import S3Store
from ovms.storage.store_errors import one_line

Make = Callable[..., FaultyProxy]


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_clients", {})
    monkeypatch.setattr(s3_client, "LEAST_AGE_SECONDS", 0.0)


@pytest.fixture
def proxy(seaweedfs: S3Server, proxied: Make, prefix: str) -> FaultyProxy:
    seaweedfs.client.put_object(Bucket=BUCKET, Key=f"{prefix}/1/model.xml", Body=b"x")
    return proxied(seaweedfs.url)


def give(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: FaultyProxy) -> None:
    """Set up one link of the chain, and no other."""
    later = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    role = {"AccessKeyId": READER[0], "SecretAccessKey": READER[1], "Token": "", "Expiration": later, "Code": "Success"}
    file = tmp_path / "file"
    if name == "environment variables":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    elif name == "the shared credentials file":
        file.write_text(f"[mine]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {READER[1]}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("AWS_PROFILE", "mine")
    elif name == "a credential process":
        answer = tmp_path / "answer"
        answer.write_text(json.dumps({"Version": 1, "AccessKeyId": READER[0], "SecretAccessKey": READER[1]}))
        file.write_text(f"[default]\ncredential_process = cat {answer}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    elif name == "a web identity":
        file.write_text("an-identity-token")
        body = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{READER[0]}</AccessKeyId>
            <SecretAccessKey>{READER[1]}</SecretAccessKey><SessionToken></SessionToken>
            <Expiration>{later}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
            </AssumeRoleWithWebIdentityResponse>"""
        service.fail(Fault(status=200, headers=(("Content-Type", "text/xml"),), body=body.encode()))
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/models")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    elif name == "the container's role":
        service.fail(Fault(status=200, body=json.dumps(role).encode()))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/role")
    elif name == "the instance's role":
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        service.fail(Fault(status=200, body=b"a-metadata-token"), "/latest/api/token")
        service.fail(Fault(status=200, body=json.dumps(role).encode()), "/security-credentials/models")
        service.fail(Fault(status=200, body=b"models"), "/security-credentials")


@pytest.mark.parametrize(
    "name",
    [
        "environment variables",
        "the shared credentials file",
        "a credential process",
        "a web identity",
        "the container's role",
        "the instance's role",
    ],
)
def test_each_link_of_the_chain(
    name: str, proxy: FaultyProxy, proxied: Make, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = proxied(proxy.url)
    give(name, tmp_path, monkeypatch, service)
    store = S3Store(BUCKET, StoreOptions(endpoint=proxy.url))
    assert store.credentials == name
    assert [item.key for item in store.list_objects(f"{prefix}/", 10)] == [f"{prefix}/1/model.xml"]
    (request,) = proxy.seen("list-type=2")
    assert f"Credential={READER[0]}/" in request.headers["authorization"]


def test_a_session_token_is_sent_and_not_told(
    proxy: FaultyProxy, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-temporary-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-temporary-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "its-session-token")
    body = (
        b"<Error><Code>ExpiredToken</Code><Message>its-session-token of a-temporary-key has expired</Message></Error>"
    )
    proxy.fail(Fault(status=400, headers=(("Content-Type", "application/xml"),), body=body))
    caplog.set_level("DEBUG", "ovms")
    with pytest.raises(ServingError) as refused:
        S3Store(BUCKET, StoreOptions(endpoint=proxy.url)).list_objects(f"{prefix}/", 10)
    assert refused.value.code is Code.UNAUTHENTICATED
    assert "ExpiredToken: *** of *** has expired" in refused.value.message
    assert proxy.seen()[0].headers["x-amz-security-token"] == "its-session-token"
    for secret in ("its-session-token", "its-temporary-secret", "a-temporary-key"):
        assert secret not in caplog.text + refused.value.message


def test_a_session_token_with_an_end_of_a_line(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """As files of secrets often have one: it can be sent in no header, and is not told in an error of that."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-temporary-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-temporary-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "its-session-token\n")
    with pytest.raises(ServingError, match="X-Amz-Security-Token") as refused:
        S3Store(BUCKET, StoreOptions(endpoint=proxy.url)).list_objects("x/", 10)
    assert "its-session-token" not in repr(refused.value)
    assert one_line("b'its-session-token\\n' is wrong", ["its-session-token\n"]) == "b'***\\n' is wrong"


def test_a_directory_bucket(proxied: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives keys of its own, on a connection that is bounded as all are."""
    give("environment variables", Path(), monkeypatch, proxied("http://127.0.0.1:1"))
    server = proxied("http://127.0.0.1:1")
    server.fail(
        Fault(
            status=200,
            body=b"<CreateSessionResult><Credentials><SessionToken>given</SessionToken><SecretAccessKey>s</SecretAccessKey>"
            b"<AccessKeyId>k</AccessKeyId><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>",
        ),
        r"\?session",
        times=1,
    )
    server.fail(Fault(status=200, body=b"<ListBucketResult><Name>b</Name></ListBucketResult>"), "list-type=2")
    options = StoreOptions(endpoint=server.url, region="us-west-2")
    assert S3Store("models--usw2-az1--x-s3", options).list_objects("x/", 10) == []
    assert server.seen("list-type=2")[0].headers["x-amz-s3session-token"] == "given"
    monkeypatch.setattr(s3_client, "_clients", {})
    monkeypatch.setattr(http_get, "LARGEST_BODY", 100)
    server.fail(Fault(status=200, body=bytes(1000)), r"\?session")
    with pytest.raises(ServingError) as refused:
        S3Store("models--usw2-az1--x-s3", options).list_objects("x/", 10)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED


def test_one_client_however_many_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    going = threading.Barrier(8)

    class Counted(s3_client.S3Client):
        def __init__(self, options: StoreOptions) -> None:
            made.append(self)
            super().__init__(options)

    def ask(_: int) -> object:
        going.wait(10)
        return s3_client.connected(StoreOptions(endpoint="http://store.example", anonymous=True))

    monkeypatch.setattr(s3_client, "S3Client", Counted)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    assert len(made) == 1
    monkeypatch.setenv("AWS_PROFILE", "missing")
    for _ in range(2):
        with pytest.raises(ServingError, match="ProfileNotFound"):
            S3Store(BUCKET, StoreOptions(region="us-east-1")).list_objects("x/", 10)


def test_what_passes_with_a_status_of_a_bad_request(proxy: FaultyProxy) -> None:
    """A part of an object is asked for again then."""
    body = b"<Error><Code>RequestTimeout</Code><Message>Idle connections will be closed.</Message></Error>"
    proxy.fail(Fault(status=400, headers=(("Content-Type", "application/xml"),), body=body))
    with pytest.raises(ServingError) as refused:
        S3Store(BUCKET, StoreOptions(endpoint=proxy.url, anonymous=True)).list_objects("x/", 10)
    assert refused.value.code is Code.UNAVAILABLE


def test_keys_of_a_role_are_renewed(
    proxy: FaultyProxy, proxied: Make, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is signed with the old ones is not sent again."""
    service = proxied(proxy.url)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/role")

    def answer(key: str, secret: str, minutes: float) -> None:
        until = (datetime.now(timezone.utc) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        role = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Expiration": until}
        service.heal()
        service.fail(Fault(status=200, body=json.dumps(role).encode()))

    answer(*READER, minutes=5)  # so soon that they are to be renewed at the next request
    store = S3Store(BUCKET, StoreOptions(endpoint=proxy.url))
    store.list_objects(f"{prefix}/", 10)
    answer("testadmin", "testadminsecret", minutes=60)
    store.list_objects(f"{prefix}/", 10)
    store.list_objects(f"{prefix}/", 10)
    used = [request.headers["authorization"].partition("Credential=")[2].partition("/")[0] for request in proxy.seen()]
    assert used == [READER[0], "testadmin", "testadmin"]


@pytest.mark.parametrize("variable", ["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_a_password_in_an_endpoint(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whichever variable: it would be told with the server's name."""
    monkeypatch.setenv(variable, "http://store.example:9000/")
    assert S3Store(BUCKET, StoreOptions()).server == "http://store.example:9000"
    monkeypatch.setenv(variable, "http://user:secret@store.example:9000")
    with pytest.raises(ConfigError, match=f"{variable}: a user, a password or a signature is no part of it") as caught:
        S3Store(BUCKET, StoreOptions())
    assert "secret" not in str(caught.value)
    assert S3Store(BUCKET, StoreOptions(endpoint="http://other.example")).server == "http://other.example"
    if variable.startswith("AWS"):
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        assert S3Store(BUCKET, StoreOptions()).server == ""


def test_anonymous_goes_before_keys(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = S3Store("public", StoreOptions(endpoint=proxy.url, anonymous=True))
    assert store.credentials == "anonymous"
    store.list_objects("nothing/", 10)
    assert "authorization" not in proxy.seen()[0].headers
