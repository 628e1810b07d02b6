"""REST's paths and methods, on either HTTP server.

The ancestor's framework answered unknown paths and wrong methods with empty bodies, and 415 to curl's own Content-Type.
Here the paths are TensorFlow Serving's, every error is ``{"error": "<text>"}``, and no Content-Type is refused.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rest_calls import ENGINES, ROW, ROW_ANSWER, ask, rest_serving

from tests.models import synthetic

NOT_FOUND = "Servable not found for request: Specific({}, {})"
LARGEST = 2**63 - 1


@pytest.fixture(scope="module", params=ENGINES)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = synthetic.null_model(tmp_path_factory.mktemp("routes"), name="m", version=3)
    labels = ("--version_labels", '{"stable": 3, "a b": 3}')
    with rest_serving(folder, "--rest_engine", request.param, *labels, name="größe 1") as (_, port):
        yield port


NAME = "gr%C3%B6%C3%9Fe%201"
MODEL = f"/v1/models/{NAME}"
FOUND = [
    ("POST", f"{MODEL}:predict"),
    ("POST", f"{MODEL}/versions/3:predict"),
    ("POST", f"{MODEL}/versions/0:predict"),
    ("POST", f"{MODEL}/versions/0003:predict"),
    ("POST", f"{MODEL}/labels/stable:predict"),
    ("POST", f"{MODEL}/labels/a%20b:predict"),
    ("POST", f"/V1/Models/{NAME}:PREDICT"),
    ("POST", f"{MODEL}:predict?alt=json"),
    ("GET", MODEL),
    ("GET", f"{MODEL}/versions/3"),
    ("GET", f"{MODEL}/versions/0"),
    ("GET", f"{MODEL}/labels/stable"),
    ("GET", f"{MODEL}/metadata"),
    ("GET", f"{MODEL}/versions/3/metadata"),
    ("GET", f"{MODEL}/labels/stable/metadata"),
    ("GET", "/v1/models"),
    ("GET", "/v1/config"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", f"/v2/models/{NAME}/ready"),
    ("GET", f"/v2/models/{NAME}/versions/3/ready"),
]


@pytest.mark.parametrize(("method", "path"), FOUND)
def test_paths(port: int, method: str, path: str) -> None:
    answer = ask(port, method, path, ROW if method == "POST" else None)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    if method == "POST":
        assert answer.json == ROW_ANSWER
        return
    head = ask(port, "HEAD", path)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(answer.body)), b"")


@pytest.mark.parametrize(("method", "path"), FOUND)
def test_methods(port: int, method: str, path: str) -> None:
    allowed = {"POST": "OPTIONS, POST", "GET": "GET, HEAD, OPTIONS"}[method]
    options = ask(port, "OPTIONS", path)
    assert (options.status, options.headers["allow"], options.body) == (200, allowed, b"")
    for other in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {method}:
        answer = ask(port, other, path, ROW)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.error == f"{other} is not allowed here; expected {allowed}"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models/none", 404, NOT_FOUND.format("none", 0)),
        ("GET", "/v1/models/none/metadata", 404, NOT_FOUND.format("none", 0)),
        ("POST", "/v1/models/none:predict", 404, NOT_FOUND.format("none", 0)),
        ("POST", f"{MODEL}/versions/4:predict", 404, NOT_FOUND.format("größe 1", 4)),
        ("POST", f"{MODEL}/versions/{LARGEST}:predict", 404, NOT_FOUND.format("größe 1", LARGEST)),
        ("GET", f"{MODEL}/versions/4", 404, NOT_FOUND.format("größe 1", 4)),
        ("GET", f"{MODEL}/versions/4/metadata", 404, NOT_FOUND.format("größe 1", 4)),
        ("GET", "/v2/models/none/ready", 404, NOT_FOUND.format("none", 0)),
        ("GET", f"/v2/models/{NAME}/versions/4/ready", 404, NOT_FOUND.format("größe 1", 4)),
        ("GET", f"{MODEL}/versions/{LARGEST + 1}", 400, f"{LARGEST + 1} is not a version"),
        ("POST", f"{MODEL}/versions/{'9' * 5000}:predict", 400, "is not a version"),
        ("POST", f"{MODEL}/labels/none:predict", 400, "Unrecognized servable version label: none"),
        ("GET", f"{MODEL}/labels/none", 400, "Unrecognized servable version label: none"),
        ("GET", f"{MODEL}/labels/none/metadata", 400, "Unrecognized servable version label: none"),
        ("GET", "/v1/models/%ff", 400, "not UTF-8"),
        ("POST", f"{MODEL}:classify", 501, "classify is not offered"),
        ("POST", f"{MODEL}/versions/3:regress", 501, "regress is not offered"),
        ("POST", f"{MODEL}:explain", 400, f"Malformed request: POST {MODEL}:explain"),
        ("GET", f"{MODEL}/", 400, f"Malformed request: GET {MODEL}/"),
        ("GET", f"{MODEL}/versions/three", 400, f"Malformed request: GET {MODEL}/versions/three"),
        ("GET", f"{MODEL}/versions/-1", 400, f"Malformed request: GET {MODEL}/versions/-1"),
        ("GET", f"{MODEL}/versions/3/labels/stable", 400, "Malformed request: GET "),
        ("GET", "/v1/", 400, "Malformed request: GET /v1/"),
        ("POST", "/v1/models/:predict", 400, "Malformed request: POST /v1/models/:predict"),
        ("GET", "/index.html", 404, "nothing is at /index.html"),
        ("GET", "/status", 404, "nothing is at /status"),
        ("GET", "/status/none.js", 404, "nothing is at /status/none.js"),
        ("GET", "/status/..%5Crest.js", 404, "nothing is at /status/..%5Crest.js"),
        ("GET", "/v3/models", 404, "nothing is at /v3/models"),
        ("GET", "/v2/health/live/", 404, "nothing is at /v2/health/live/"),
        ("POST", "/v1/config/reload", 400, "there is no configuration file to read again"),
    ],
)  # fmt: skip
def test_errors(port: int, method: str, path: str, status: int, error: str) -> None:
    answer = ask(port, method, path, ROW if method == "POST" else None)
    assert answer.status == status, answer.body
    assert error in answer.error


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "nothing", ""])
def test_every_content_type_is_taken(port: int, kind: str) -> None:
    answer = ask(port, "POST", f"{MODEL}:predict", ROW, {"Content-Type": kind})
    assert (answer.status, answer.json) == (200, ROW_ANSWER)


def test_a_body_where_none_belongs_is_passed_over(port: int) -> None:
    assert ask(port, "GET", MODEL, b"x" * 1000).status == 200


def test_no_body_is_an_error_of_the_body(port: int) -> None:
    answer = ask(port, "POST", f"{MODEL}:predict")
    assert (answer.status, answer.error) == (
        400,
        "Invalid JSON in request body: offset 0: expected an object, got the end of the text",
    )


def test_no_server_names_its_version(port: int, request: pytest.FixtureRequest) -> None:
    if "meinheld" in request.node.name:
        pytest.skip("meinheld always does")
    assert "server" not in ask(port, "GET", MODEL).headers


def test_a_colon_and_a_slash_in_a_name(tmp_path: Path) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    with rest_serving(folder, name="a:b/c%d") as (_, port):
        assert ask(port, "POST", "/v1/models/a%3Ab%2Fc%25d:predict", ROW).json == ROW_ANSWER
        assert ask(port, "GET", "/v2/models/a%3Ab%2Fc%25d/ready").json == {"name": "a:b/c%d", "ready": True}
        assert ask(port, "GET", "/v1/models/a:b/c%25d").status == 400
