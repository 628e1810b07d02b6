"""TLS on every port and engine: who gets in, who does not and why."""

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES as GRPC_ENGINES
from key_files import PREDICT, write_keys
from ovms_client import Client, Unauthenticated, Unavailable
from rest_calls import ROW, ROW_ANSWER
from server_under_test import PATIENCE, Server, foreign_environment, free_port, serving
from tls_files import REST_ENGINES, Files, X, ask, rest_serving, written

from tests.certificates import Authority
from tests.models import synthetic


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return written(tmp_path)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("null"))


@pytest.fixture(scope="module")
def native(null: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Files, Server, int]]:
    """A server, and the port of its REST."""
    files = written(tmp_path_factory.mktemp("files"))
    with rest_serving(null, "native", *files.options) as (server, port):
        yield files, server, port


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_grpc(null: Path, files: Files, engine: str) -> None:
    with serving(null, "--grpc_engine", engine, *files.options) as server:
        with Client(server.address, credentials=files.credentials()) as client:
            np.testing.assert_array_equal(client.predict("null", {"x": X})["y"], X + 1)
            assert client.metadata("null").version == 1
        strangers = grpc.ssl_channel_credentials(Authority("another").certificate)
        for credentials in (None, strangers):
            with Client(server.address, credentials=credentials, timeout=3) as client, pytest.raises(Unavailable):
                client.predict("null", {"x": X})


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_rest(null: Path, files: Files, engine: str) -> None:
    with rest_serving(null, engine, *files.options) as (server, port):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=files.context())
        for _ in range(3):  # on one connection
            connection.request("POST", "/v1/models/null:predict", ROW)
            assert json.loads(connection.getresponse().read()) == ROW_ANSWER
        connection.request("GET", "/v1/models/null")
        assert b"AVAILABLE" in connection.getresponse().read()
        connection.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, ssl.create_default_context(cadata=Authority("another").certificate.decode()))
        server.wait_for_line(r" - WARNING - TLS: no connection with 127\.0\.0\.1: .*unknown ca", 20)


@pytest.mark.parametrize("options", [(), ("--http2",)], ids=["http/1.1", "http/2"])
def test_curl(native: tuple[Files, Server, int], options: tuple[str, ...]) -> None:
    """Which protocol is agreed on within TLS's own handshake."""
    files, _, port = native
    url = f"https://127.0.0.1:{port}/v1/models/null:predict"
    command = [
        "curl",
        "-sS",
        "--cacert",
        str(files.folder / "ca.pem"),
        "-w",
        " %{http_version}",
        "-d",
        ROW.decode(),
    ]
    answer = subprocess.run(
        [*command, *options, url], capture_output=True, text=True, timeout=PATIENCE, env=foreign_environment()
    )
    body, _, version = answer.stdout.rpartition(" ")
    assert json.loads(body) == ROW_ANSWER, answer.stderr
    assert version == "2"  # curl prefers it, asked or not


def test_protocols_that_are_not_spoken(native: tuple[Files, Server, int]) -> None:
    files, server, port = native
    for at, offered, agreed in ((port, ["http/1.1"], "http/1.1"), (server.port, ["h2"], "h2"), (port, [], None)):
        context = files.context()
        if offered:
            context.set_alpn_protocols(offered)
        with (
            socket.create_connection(("127.0.0.1", at)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connection.selected_alpn_protocol() == agreed
    context = files.context()
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(("127.0.0.1", server.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("engine", [*REST_ENGINES, "grpcio"])
def test_versions_of_tls(null: Path, files: Files, engine: str) -> None:
    rest = engine != "grpcio"
    options = ("--rest_engine", engine) if rest else ("--grpc_engine", engine)
    port = free_port()
    with serving(null, *options, "--rest_port", str(port), *files.options) as server:
        at = port if rest else server.port
        for version, spoken in (
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ):
            context = files.context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.set_alpn_protocols(["http/1.1" if rest else "h2"])
            with pytest.warns() if version is ssl.TLSVersion.TLSv1_1 else nullcontext():
                context.minimum_version = context.maximum_version = version
            with socket.create_connection(("127.0.0.1", at)) as plain:
                if spoken:
                    context.wrap_socket(plain, server_hostname="localhost").close()
                else:
                    with pytest.raises((ssl.SSLError, ConnectionResetError)):
                        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_grpc_clients_with_a_certificate(null: Path, files: Files, engine: str) -> None:
    with serving(null, "--grpc_engine", engine, *files.mutual) as server:
        with Client(server.address, credentials=files.credentials(files.authority.issue("a client"))) as client:
            np.testing.assert_array_equal(client.predict("null", {"x": X})["y"], X + 1)
        for stranger in (None, Authority("another").issue("a stranger"), files.authority.issue("of yesterday", -1)):
            credentials = files.credentials(stranger)
            with Client(server.address, credentials=credentials, timeout=3) as client, pytest.raises(Unavailable):
                client.predict("null", {"x": X})
        if engine == "native":
            server.wait_for_line(r"TLS: no connection with 127\.0\.0\.1: peer did not return a certificate")


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_rest_clients_with_a_certificate(null: Path, files: Files, engine: str) -> None:
    """Without one nothing answers but health, on a port of its own."""
    monitoring = free_port()
    more = ("--metrics_port", str(monitoring), "--tls_ports", "grpc,rest")
    with rest_serving(null, engine, *files.mutual, *more) as (_, port):
        context = files.context(files.authority.issue("a client"))
        assert json.loads(ask(port, context)) == ROW_ANSWER
        for stranger in (None, Authority("another").issue(), files.authority.issue("of yesterday", -1)):
            for path in ("/v1/models/null:predict", "/v1/models/null", "/v1/config", "/metrics"):
                with pytest.raises((ssl.SSLError, OSError)):
                    ask(port, files.context(stranger), path)
        health = http.client.HTTPConnection("127.0.0.1", monitoring, timeout=PATIENCE)
        health.request("GET", "/v2/health/ready")
        assert health.getresponse().status == 200
        health.close()


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_api_keys_over_tls(null: Path, files: Files, engine: str) -> None:
    keys = write_keys(files.folder / "keys")
    with serving(null, "--grpc_engine", engine, *files.options, "--api_keys_file", str(keys)) as server:
        with Client(server.address, credentials=files.credentials(), api_key=PREDICT) as client:
            np.testing.assert_array_equal(client.predict("null", X)["y"], X + 1)
        with Client(server.address, credentials=files.credentials()) as client, pytest.raises(Unauthenticated):
            client.predict("null", X)


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_api_keys_over_tls_on_rest(null: Path, files: Files, engine: str) -> None:
    keys = write_keys(files.folder / "keys")
    with rest_serving(null, engine, *files.mutual, "--api_keys_file", str(keys)) as (_, port):
        context = files.context(files.authority.issue())
        with Client(f"https://127.0.0.1:{port}", credentials=context, api_key=PREDICT) as client:
            np.testing.assert_array_equal(client.predict("null", X)["y"], X + 1)
        # A certificate is no key.
        with Client(f"https://127.0.0.1:{port}", credentials=context) as client, pytest.raises(Unauthenticated):
            client.status("null")
