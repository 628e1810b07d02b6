"""REST over HTTP/2 with prior knowledge, which the native server speaks on the same port: curl and h2load."""

import gzip
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_engines import NATIVE_ONLY
from hostile_client import Target, target
from rest_calls import ROW, ROW_ANSWER, ask, rest_serving
from server_under_test import PATIENCE, Server, foreign_environment

from tests.models import synthetic

CURL, H2LOAD = shutil.which("curl"), shutil.which("h2load")
pytestmark = NATIVE_ONLY
with_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")
with_h2load = pytest.mark.skipif(H2LOAD is None, reason="h2load is not installed")

PREDICT = "/v1/models/m:predict"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    folder = synthetic.null_model(tmp_path_factory.mktemp("http2"), batch=-1, name="m")
    with rest_serving(folder, "--rest_engine", "native", "--rest_max_body_bytes", "1000000") as served:
        yield served


def curl(port: int, path: str, *options: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names, and body."""
    command = [str(CURL), "-sS", "-i", "--noproxy", "*", "--http2-prior-knowledge", *options]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        input=body,
        capture_output=True,
        timeout=PATIENCE,
        env=foreign_environment(),
    )
    assert done.returncode == 0, done.stderr
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, status, *_ = first.split(" ")
    assert protocol == "HTTP/2"
    return int(status), dict(line.split(": ", 1) for line in lines), content


@with_curl
def test_predictions(served: tuple[Server, int]) -> None:
    _, port = served
    status, headers, content = curl(port, PREDICT, "--data-binary", "@-", body=ROW)
    assert (status, json.loads(content)) == (200, ROW_ANSWER)
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(content))
    assert headers["date"].endswith(" GMT")
    assert "connection" not in headers


@with_curl
def test_packed_both_ways(served: tuple[Server, int]) -> None:
    _, port = served
    rows = [[1.0] * 10] * 1000
    packed = gzip.compress(json.dumps({"instances": rows}).encode())
    options = ("--data-binary", "@-", "-H", "Content-Encoding: gzip", "-H", "Accept-Encoding: gzip")
    status, headers, content = curl(port, PREDICT, *options, body=packed)
    assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "Accept-Encoding")
    assert json.loads(gzip.decompress(content)) == {"predictions": [[2.0] * 10] * 1000}


@with_curl
@pytest.mark.parametrize(
    ("options", "path", "status", "error"),
    [
        ((), "/v1/models/none/metadata", 404, "Servable not found for request: Specific(none, 0)"),
        (("-d", "{"), "/v1/models/none:predict", 404, "Servable not found for request: Specific(none, 0)"),
        (("-d", "{"), PREDICT, 400, "Invalid JSON in request body"),
        (("-d", "{}", "-H", "Content-Encoding: br"), PREDICT, 415, "got br"),
        (("-d", "{}", "-H", "X-Request-Timeout: soon"), PREDICT, 400, "X-Request-Timeout: expected a number"),
        (("-d", "{}"), "/v1/models/m/versions/99999999999999999999:predict", 400, "is not a version"),
        (("-X", "DELETE"), "/v1/models/m", 405, "DELETE is not allowed here"),
        (("-X", "get"), "/v1/models/m", 400, "a method in small letters"),
        (("-d", "{}"), "/v1/models/m:classify", 501, "classify is not offered"),
        ((), "/nothing", 404, "nothing is at /nothing"),
        (("--data-binary", "@-"), PREDICT, 413, "larger than the 1000000 bytes"),
    ],
)
def test_errors(served: tuple[Server, int], options: tuple[str, ...], path: str, status: int, error: str) -> None:
    _, port = served
    found, headers, content = curl(port, path, *options, body=b" " * 2_000_000)
    assert found == status, content
    assert headers["content-type"] == "application/json"
    assert error in json.loads(content)["error"]


@with_curl
def test_pages(served: tuple[Server, int]) -> None:
    _, port = served
    for path in ("/v1/models/m", "/v1/models/m/metadata", "/v2/health/ready", "/v1/config"):
        plain = ask(port, "GET", path)
        status, headers, content = curl(port, path)
        assert (status, content) == (plain.status, plain.body)
        status, headers, content = curl(port, path, "-I")
        assert (status, headers["content-length"], content) == (200, str(len(plain.body)), b"")
    _, headers, content = curl(port, "/")
    assert content.startswith(b"<!doctype html>")
    status, headers, content = curl(port, "/", "-H", f"If-None-Match: {headers['etag']}")
    assert (status, content, "content-length" in headers) == (304, b"", False)


@with_h2load
@pytest.mark.parametrize("options", [("-c", "1", "-m", "16"), ("-c", "16", "-m", "1"), ("--h1", "-c", "16")])
def test_many_at_once(served: tuple[Server, int], tmp_path: Path, options: tuple[str, ...]) -> None:
    _, port = served
    (tmp_path / "row").write_bytes(ROW)
    command = [str(H2LOAD), "-n", "5000", *options, "-d", str(tmp_path / "row"), f"http://127.0.0.1:{port}{PREDICT}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert "status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["native", "cheroot"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Target]]:
    with target(tmp_path_factory.mktemp("models"), "--rest_engine", request.param) as found:
        yield request.param, found
        found.is_well()


def test_the_preface(either: tuple[str, Target]) -> None:
    """The native server answers it with settings of its own; to others it is a request of another protocol."""
    engine, server = either
    if engine == "native":
        with server.connect() as connection:
            connection.sendall(PREFACE)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert received[3] == 4
        assert received[4] == 0
        return
    (answer,) = server.send(PREFACE)
    assert answer.status in (400, 505)
    assert answer.error
