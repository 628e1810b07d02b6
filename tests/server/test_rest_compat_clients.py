"""Clients that people have, unchanged: ovmsclient over HTTP, requests, http.client."""

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from documented_models import Documented, serving_documented
from ovmsclient import make_grpc_client, make_http_client
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError
from server_under_test import PATIENCE

BODY = {"instances": [1.0, 2.0, 5.0]}
PREDICTED = {"predictions": [2.5, 3.0, 4.5]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    with serving_documented(tmp_path_factory.mktemp("documented"), "--rest_max_body_bytes", "1000000") as documented:
        yield documented


@pytest.fixture
def client(served: Documented) -> Iterator[Any]:
    client = make_http_client(f"127.0.0.1:{served.port}")
    yield client
    client.session.close()


@pytest.fixture
def url(served: Documented) -> str:
    return f"{served.url}/v1/models/half_plus_two:predict"


def test_ovmsclient_predict(client: Any) -> None:
    for values in ([1.0, 2.0], np.array([1, 2], np.float32), np.array([1, 2], np.int64)):
        np.testing.assert_array_equal(client.predict({"x": values}, "half_plus_two", timeout=PATIENCE), [2.5, 3.0])
    assert client.predict({"x": 1.0}, "half_plus_two", 1, timeout=PATIENCE).tolist() == [2.5]


def test_ovmsclient_several_inputs_and_outputs(client: Any) -> None:
    inputs = {"tag": ["foo"], "signal": [[1, 2, 3, 4, 5]], "sensor": np.ones((1, 2, 2), np.float32)}
    outputs = client.predict(inputs, "sensors", timeout=PATIENCE)
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "tag": ["foo"],
        "total": [15],
        "twice": [[[2.0, 2.0], [2.0, 2.0]]],
    }


def test_ovmsclient_bytes(client: Any) -> None:
    outputs = client.predict({"image": [b"\xff\xd8"], "caption": ["sea"]}, "pictures", timeout=PATIENCE)
    assert outputs["image"].tolist() == [{"b64": "/9g="}]
    assert outputs["caption"].tolist() == ["sea"]


def test_ovmsclient_has_the_same_from_both_apis(served: Documented, client: Any) -> None:
    other = make_grpc_client(served.server.address)
    for model in ("half_plus_two", "sensors", "pictures"):
        assert client.get_model_metadata(model, timeout=PATIENCE) == other.get_model_metadata(model, timeout=PATIENCE)
        assert client.get_model_status(model, timeout=PATIENCE) == other.get_model_status(model, timeout=PATIENCE)
    assert client.get_model_metadata("half_plus_two", 1)["model_version"] == 1
    assert set(client.get_model_status("half_plus_two", 1)) == {1}
    assert set(client.get_model_status("half_plus_two")) == {1, 2}


def test_ovmsclient_errors(client: Any) -> None:
    for call in (
        lambda: client.predict({"x": [1.0]}, "none", timeout=PATIENCE),
        lambda: client.predict({"x": [1.0]}, "half_plus_two", 9, timeout=PATIENCE),
        lambda: client.get_model_metadata("none", timeout=PATIENCE),
        lambda: client.get_model_status("none", timeout=PATIENCE),
    ):
        with pytest.raises(ModelNotFoundError, match="Servable not found for request"):
            call()
    for inputs in ({"y": [1.0]}, {"x": [[1.0]]}, {"x": ["one"]}):
        with pytest.raises(InvalidInputError):
            client.predict(inputs, "half_plus_two", timeout=PATIENCE)
    with pytest.raises(ConnectionError, match="larger"):
        client.predict({"x": np.zeros(400_000)}, "half_plus_two", timeout=PATIENCE)
    assert client.predict({"x": [1.0]}, "half_plus_two", timeout=PATIENCE).tolist() == [2.5]


GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "keywords",
    [
        {"json": BODY},
        {"data": json.dumps(BODY)},
        {"data": json.dumps(BODY, indent=4).encode()},
        {"data": "\ufeff".encode() + json.dumps(BODY).encode()},
        {"data": json.dumps(BODY), "headers": {"Content-Type": "text/plain; charset=utf-8"}},
        {"data": iter([b'{"instances": [1.0, ', b"2.0, 5.0]}"])},
        {"data": gzip.compress(json.dumps(BODY).encode()), "headers": GZIP},
        {"data": zlib.compress(json.dumps(BODY).encode()), "headers": {"Content-Encoding": "deflate"}},
        {"data": iter([gzip.compress(json.dumps(BODY).encode())]), "headers": GZIP},
        {"json": BODY, "headers": {"Accept": "*/*", "Accept-Encoding": "identity"}},
        {"json": BODY, "headers": {"Connection": "close"}},
        {"json": BODY, "params": {"key": "value"}},
        {"json": BODY, "auth": ("user", "password")},
    ],
    ids=lambda keywords: "-".join(keywords),
)
def test_requests(url: str, keywords: dict[str, Any]) -> None:
    reply = requests.post(url, timeout=PATIENCE, **keywords)
    assert (reply.status_code, reply.json()) == (200, PREDICTED)
    assert reply.headers["Content-Type"] == "application/json"


def test_requests_gets_gzip_for_long_answers(url: str) -> None:
    body = {"instances": [float(number) for number in range(5000)]}
    with requests.Session() as session:
        packed = session.post(url, json=body, timeout=PATIENCE)
        plain = session.post(url, json=body, timeout=PATIENCE, headers={"Accept-Encoding": "identity"})
    assert packed.headers.get("Content-Encoding") == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    assert packed.content == plain.content
    assert packed.json()["predictions"][-1] == 2501.5


def test_one_connection_for_everything(served: Documented) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    connection.connect()
    mine = connection.sock.getsockname()
    for _ in range(5):
        for method, path, body, status in (
            ("GET", "/v1/models/half_plus_two", None, 200),
            ("POST", "/v1/models/half_plus_two:predict", json.dumps(BODY), 200),
            ("POST", "/v1/models/half_plus_two:predict", "{", 400),
            ("GET", "/v1/models/none", None, 404),
            ("HEAD", "/v1/models/half_plus_two", None, 200),
        ):
            connection.request(method, path, body)
            reply = connection.getresponse()
            assert reply.status == status
            assert bool(reply.read()) == (method != "HEAD")
            assert connection.sock.getsockname() == mine
    connection.close()
