"""What pages of other origins may do. The ancestor sent no such headers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rest_calls import ENGINES, ROW, ROW_ANSWER, ask, rest_serving

from tests.models import synthetic

PREDICT = "/v1/models/m:predict"
GOOD, OTHER = "https://good.example", "https://other.example"
ALLOW = "access-control-allow-"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("cors"), name="m")


@pytest.fixture(scope="module", params=ENGINES)
def listed(request: pytest.FixtureRequest, folder: Path) -> Iterator[int]:
    """A server that lists everything."""
    options = (
        *("--allowed_origins", f"{GOOD}, http://localhost:3000"),
        *("--allowed_methods", "POST,GET"),
        *("--allowed_headers", "Content-Type, X-Request-Timeout"),
    )
    with rest_serving(folder, "--rest_engine", request.param, *options) as (_, port):
        yield port


@pytest.fixture(scope="module")
def everyone(folder: Path) -> Iterator[int]:
    with rest_serving(folder, "--allowed_origins", "*") as (_, port):
        yield port


def cors(headers: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(ALLOW): value for name, value in headers.items() if name.startswith(ALLOW)}


def preflight(origin: str, headers: str = "content-type") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return asked | ({"Access-Control-Request-Headers": headers} if headers else {})


def test_off_unless_asked_for(folder: Path) -> None:
    with rest_serving(folder) as (_, port):
        for method, headers in (("POST", {"Origin": GOOD}), ("OPTIONS", preflight(GOOD))):
            answer = ask(port, method, PREDICT, ROW, headers)
            assert answer.status == 200
            assert cors(answer.headers) == {}
            assert "vary" not in answer.headers


def test_listed_origins(listed: int) -> None:
    for origin, allowed in ((GOOD, True), ("http://localhost:3000", True), (OTHER, False), (GOOD + ":81", False)):
        answer = ask(listed, "POST", PREDICT, ROW, {"Origin": origin})
        assert (answer.status, answer.json) == (200, ROW_ANSWER)
        assert cors(answer.headers) == ({"origin": origin} if allowed else {})
        assert answer.headers["vary"] == "Origin"
        answer = ask(listed, "OPTIONS", PREDICT, headers=preflight(origin))
        expected = {"origin": origin, "methods": "POST, GET", "headers": "Content-Type, X-Request-Timeout"}
        assert (answer.status, cors(answer.headers)) == (200, expected if allowed else {})
    assert ask(listed, "POST", PREDICT, ROW).headers["vary"] == "Origin"


def test_errors_have_the_headers_too(listed: int) -> None:
    for path, status in (("/v1/models/none:predict", 404), ("/v1/nothing", 400), ("/nothing", 404)):
        answer = ask(listed, "POST", path, ROW, {"Origin": GOOD})
        assert (answer.status, cors(answer.headers)) == (status, {"origin": GOOD})


def test_everyone(everyone: int) -> None:
    answer = ask(everyone, "POST", PREDICT, ROW, {"Origin": OTHER})
    assert cors(answer.headers) == {"origin": "*"}
    assert "vary" not in answer.headers
    answer = ask(everyone, "OPTIONS", PREDICT, headers=preflight(OTHER, "x-a, x-b"))
    assert cors(answer.headers) == {"origin": "*", "methods": "OPTIONS, POST", "headers": "x-a, x-b"}
    assert "headers" not in cors(ask(everyone, "OPTIONS", PREDICT, headers=preflight(OTHER, "")).headers)


def test_an_answer_that_depends_on_two_headers(folder: Path, listed: int) -> None:
    answer = ask(listed, "GET", "/v1/models/m/metadata", headers={"Origin": GOOD, "Accept-Encoding": "gzip"})
    assert answer.headers["vary"] == "Origin, Accept-Encoding"
    assert answer.headers["content-encoding"] == "gzip"
