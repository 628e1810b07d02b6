"""The status page over HTTP: its files and its data. What a browser makes of it: ``test_status_browser.py``."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from rest_calls import ROW, STRICT_ENGINES, Connection, ask, rest_serving
from server_under_test import Server

import ovms
from ovms.api.status_page import FOLDER, is_known
from tests.models import synthetic

FILES = {"/": "status.html"} | {
    f"/status/{path.name}": path.name for path in FOLDER.iterdir() if path.suffix != ".html"
}


@pytest.fixture(scope="module", params=STRICT_ENGINES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    folder = synthetic.two_in_two_out(tmp_path_factory.mktemp("page"), name="m")
    options = ("--rest_engine", request.param, "--version_labels", '{"stable": 1}', "--nireq", "2")
    with rest_serving(folder, *options) as served:
        yield served


def test_its_files(served: tuple[Server, int]) -> None:
    _, port = served
    assert len(FILES) > 5
    with Connection(port) as connection:
        for path, name in FILES.items():
            answer = connection.ask("GET", path)
            kind = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}[Path(name).suffix]
            assert answer.body == (FOLDER / name).read_bytes()
            assert (answer.status, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
            assert answer.headers["x-content-type-options"] == "nosniff"
            policy = answer.headers["content-security-policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
            assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_file_that_is_known_is_not_sent_again(served: tuple[Server, int]) -> None:
    _, port = served
    with Connection(port) as connection:
        etag = connection.ask("GET", "/").headers["etag"]
        for method in ("GET", "HEAD"):
            for known in (etag, f'"other", {etag.removeprefix("W/")}', "*"):
                answer = connection.ask(method, "/", None, {"If-None-Match": known})
                assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
                assert not {"content-length", "transfer-encoding", "content-type"} & set(answer.headers)
        assert connection.ask("GET", "/", None, {"If-None-Match": 'W/"other"'}).status == 200
        head = connection.ask("HEAD", "/")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str((FOLDER / "status.html").stat().st_size)
        packed = connection.ask("GET", "/status/app.js", None, {"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == (FOLDER / "app.js").read_bytes()
        assert connection.ask("POST", "/", b"").status == 405


def test_no_file_asks_for_what_is_elsewhere() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        assert "//" not in re.sub(r"^ *//.*|[;{},)] // .*| // [^\"']*$", "", text, flags=re.MULTILINE), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(", text), path.name


def test_models(served: tuple[Server, int]) -> None:
    server, port = served
    answer = ask(port, "GET", "/status/models")
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert (told["version"], told["grpc"], told["figures"]) == (
        ovms.__version__, {"port": server.port, "tls": False}, True,
    )  # fmt: skip
    assert 0 < told["uptime_seconds"] < 600
    (model,) = told["models"]
    (version,) = model["versions"]
    assert (model["name"], model["labels"], model["problem"]) == ("m", {"stable": "1"}, "")
    assert (version["version"], version["state"], version["error_code"], version["error_message"]) == (
        "1", "AVAILABLE", "OK", "",
    )  # fmt: skip
    metadata = ask(port, "GET", "/v1/models/m/metadata").json["metadata"]["signature_def"]["signatureDef"]
    signature = metadata["serving_default"]
    for kind in ("inputs", "outputs"):
        assert {tensor["name"]: tensor["dtype"] for tensor in version[kind]} == {
            name: info["dtype"] for name, info in signature[kind].items()
        }
        for tensor in version[kind]:
            sizes = [int(dim["size"]) for dim in signature[kind][tensor["name"]]["tensorShape"]["dim"]]
            assert tensor["shape"] == sizes


def test_figures(served: tuple[Server, int]) -> None:
    server, port = served
    native = "native" in json.dumps(server.process.args)
    before = ask(port, "GET", "/status/figures").json
    with Client(server.address) as client:
        for _ in range(3):
            client.predict("m", {"a": np.zeros((1, 4), np.float32), "b": np.zeros((1, 4), np.int64)})
    assert ask(port, "POST", "/v1/models/m:predict", ROW).status == 400
    after = ask(port, "GET", "/status/figures").json
    assert after["seconds"] > before["seconds"]
    assert after["uncounted"] == ([] if native else ["REST"])
    calls = {one["interface"]: one for one in after["calls"] if one["model"] == "m"}
    assert (calls["gRPC"]["ok"], calls["gRPC"]["failed"], sum(calls["gRPC"]["buckets"])) == (3, 0, 3)
    assert len(calls["gRPC"]["buckets"]) == len(after["bounds_us"]) + 1
    assert calls["gRPC"]["sum_us"] > 0
    if native:
        assert calls["REST"]["failed"] == 1
    gauges = {"model": "m", "version": "1", "nireq": 2, "active": 0, "current": 0, "waiting": 0}
    assert after["models"] == [gauges]
    assert after["connections"].keys() == ({"gRPC", "REST"} if native else {"gRPC"})
    # What the page asks for itself is not counted.
    others = [[one for one in told["calls"] if one["method"] != "Predict"] for told in (before, after)]
    assert others[0] == others[1]


KNOWN = ["*", 'W/"a"', '"a"', '"b",W/"a"', '"b", "a" ']


@pytest.mark.parametrize("sent", [*KNOWN, None, "", '"b"', "a", '"*"'])
def test_if_none_match(sent: str | None) -> None:
    assert is_known('W/"a"', sent) is (sent in KNOWN)
