"""API keys on REST, on every engine."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from key_files import ADMIN, METRICS, NOT_ALLOWED, PREDICT, WANTED, WRONG, bearer, write_keys
from ovms_client import Client, errors
from rest_calls import ENGINES, ROW, ROW_ANSWER, STRICT_ENGINES, Connection, Wire, ask, post, rest_serving
from server_under_test import Server, free_port
from test_rest_http2 import CURL, curl

from tests.models import synthetic

ORIGIN = "https://page.example"
PREDICTION = "/v1/models/m:predict"
ANY = "predict,admin,metrics"
BASIC = 'Basic realm="ovms", charset="UTF-8"'


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    root = tmp_path_factory.mktemp("keys")
    folder = synthetic.null_model(root, name="m")
    keys = ("--api_keys_file", str(write_keys(root / "keys")), "--allowed_origins", ORIGIN)
    with rest_serving(folder, "--rest_engine", request.param, *keys) as served:
        yield served


PATHS = [
    ("POST", PREDICTION, "predict"),
    ("POST", "/V1/MODELS/m:PREDICT?x=/v2/health/live", "predict"),
    ("GET", "/v1/models/m", "predict"),
    ("GET", "/v1/models/m/metadata", "predict"),
    ("GET", "/v1/models", "predict"),
    ("GET", "/v1/config", "predict"),
    ("GET", "/v1/nothing", "predict"),
    ("GET", "/nothing", "predict"),
    ("GET", "/status/models", "predict"),
    ("GET", "/status/", "predict"),
    ("GET", "/status/.js", "predict"),
    ("GET", "/status/models/app.js", "predict"),
    ("GET", "/v2/health/live/", "predict"),
    ("GET", "/v2/models//ready", "predict"),
    ("OPTIONS", PREDICTION, "predict"),
    ("POST", "/v1/config/reload", "admin"),
    ("POST", "/v1/CONFIG/reload?x", "admin"),
    ("GET", "/v1/config/reload", "admin"),
    ("GET", "/metrics", "metrics"),
    ("HEAD", "/Metrics", "metrics"),
    ("GET", "/status/figures", "metrics"),
    ("GET", "/STATUS/Figures?x=/status/app.js", "metrics"),
    ("GET", "/", ANY),
    ("HEAD", "/?x", ANY),
    ("GET", "/status/app.js", ANY),
    ("GET", "/Status/status.css", ANY),
    ("GET", "/status/nothing.js", ANY),
    ("GET", "/v2/health/live", ""),
    ("GET", "/V2/health/READY", ""),
    ("GET", "/v2/models/m/ready", ""),
    ("GET", "/v2/models/m/versions/1/ready", ""),
]
KEYS = {"predict": PREDICT, "admin": ADMIN, "metrics": METRICS}


@pytest.mark.parametrize(("method", "path", "scope"), PATHS)
@pytest.mark.parametrize("origin", [{}, {"Origin": ORIGIN}])
def test_each_path_needs_a_key_of_its_scope(
    server: tuple[Server, int], method: str, path: str, scope: str, origin: dict[str, str]
) -> None:
    _, port = server
    body = ROW if method == "POST" else None
    shared = {"Access-Control-Allow-Origin".lower(): ORIGIN} if origin else {}
    for headers in ({}, bearer(WRONG), {"X-API-Key": ""}, {"Authorization": f"Basic {PREDICT}"}):
        answer = ask(port, method, path, body, {**headers, **origin})
        if not scope:
            assert answer.status == 200
            continue
        assert (answer.status, answer.headers["www-authenticate"]) == (401, BASIC if scope == ANY else "Bearer"), (
            headers
        )
        assert method == "HEAD" or answer.error == WANTED
        assert shared.items() <= answer.headers.items()
    for name, key in KEYS.items():
        for headers in (bearer(key), {"x-api-key": key}):
            answer = ask(port, method, path, body, {**headers, **origin})
            if name in scope or not scope:
                assert answer.status not in (401, 403), name
            else:
                assert answer.status == 403, name
                assert method == "HEAD" or answer.error == NOT_ALLOWED
                assert "www-authenticate" not in answer.headers


def password(key: str, user: str = "any") -> dict[str, str]:
    return {"Authorization": f"bAsIc {b64encode(f'{user}:{key}'.encode()).decode()}"}


@pytest.mark.parametrize("path", ["/", "/status/models"])
def test_a_browser_brings_the_key_as_a_password(server: tuple[Server, int], path: str) -> None:
    _, port = server
    with Connection(port) as connection:
        for user in ("", "ä", "x" * 200):
            assert connection.ask("GET", path, None, password(PREDICT, user)).status == 200
            assert connection.ask("HEAD", path, None, password(PREDICT, user)).status == 200
            assert connection.ask("GET", path).status == 401
        assert connection.ask("GET", path, None, password(METRICS)).status == (200 if path == "/" else 403)
        for wrong in (password(WRONG), password(""), {"Authorization": "Basic"}, {"Authorization": "Basic !"}):
            assert connection.ask("GET", path, None, wrong).status == 401
        padded = b64encode(b"x:" + PREDICT.encode()).decode()
        assert padded.endswith("=")
        assert connection.ask("GET", path, None, {"Authorization": f"Basic {padded[:-1]}"}).status == 200
        lossy = {"Authorization": f"Basic {padded[:-2]}{chr(ord(padded[-2]) + 1)}="}
        assert connection.ask("GET", path, None, lossy).status == 401
        no_colon = {"Authorization": f"Basic {b64encode(PREDICT.encode()).decode()}"}
        too_long = {"Authorization": f"Basic {b64encode(b'x' * 4000 + b':' + PREDICT.encode()).decode()}"}
        assert connection.ask("GET", path, None, no_colon).status == 401
        assert connection.ask("GET", path, None, too_long).status == 401
        # A key of another header is meant, whatever a browser or a proxy adds.
        assert connection.ask("GET", path, None, password(WRONG) | {"X-API-Key": PREDICT}).status == 200
        assert connection.ask("GET", path, None, {"X-API-Key": PREDICT} | password(WRONG)).status == 200
        assert connection.ask("GET", path, None, password(PREDICT) | {"X-API-Key": WRONG}).status == 401


def test_a_password_changes_and_computes_nothing(server: tuple[Server, int]) -> None:
    """A browser sends it with the forms of strangers' pages, too."""
    _, port = server
    for path, key in ((PREDICTION, PREDICT), ("/v1/config/reload", ADMIN)):
        answer = ask(port, "POST", path, ROW, password(key))
        assert (answer.status, answer.headers["www-authenticate"], answer.error) == (401, "Bearer", WANTED)
        assert ask(port, "POST", path, ROW, password(key) | {"X-API-Key": key}).status not in (401, 403)


def test_predictions_come_out_right(server: tuple[Server, int]) -> None:
    _, port = server
    with Connection(port) as connection:
        for _ in range(3):
            assert connection.ask("POST", PREDICTION, ROW, bearer(PREDICT)).json == ROW_ANSWER
            assert connection.ask("POST", PREDICTION, ROW).status == 401
            assert connection.ask("POST", PREDICTION, ROW, {"x-api-key": PREDICT}).json == ROW_ANSWER
            assert connection.ask("POST", PREDICTION, ROW, bearer(METRICS)).status == 403


def test_one_key_and_no_more(server: tuple[Server, int]) -> None:
    _, port = server
    both = bearer(PREDICT) | {"x-api-key": PREDICT}
    assert ask(port, "POST", PREDICTION, ROW, both).status == 401
    with Wire(port) as wire:
        answer = wire.send(post(PREDICTION, ROW, f"x-api-key: {PREDICT}", f"x-api-key: {PREDICT}")).answer()
        assert answer.status == 401


def test_browsers_may_ask_what_they_may_send(server: tuple[Server, int]) -> None:
    _, port = server
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    answer = ask(port, "OPTIONS", PREDICTION, None, asked)
    assert (answer.status, answer.headers["access-control-allow-headers"]) == (200, "x-api-key")
    # What a preflight is, no other request can pretend to be.
    assert ask(port, "POST", PREDICTION, ROW, asked).status == 401
    del asked["Origin"]
    assert ask(port, "OPTIONS", PREDICTION, None, asked).status == 401


def test_the_light_client(server: tuple[Server, int]) -> None:
    address = f"http://127.0.0.1:{server[1]}"
    row = np.zeros((1, 10), np.float32)
    with Client(address, api_key=PREDICT) as client:
        for _ in range(2):
            np.testing.assert_array_equal(client.predict("m", row)["y"], row + 1)
    with Client(address, api_key=WRONG) as client, pytest.raises(errors.Unauthenticated, match=WANTED):
        client.status("m")
    with Client(address, api_key=ADMIN) as client, pytest.raises(errors.PermissionDenied, match=NOT_ALLOWED):
        client.status("m")


def test_no_key_stands_in_the_log(server: tuple[Server, int]) -> None:
    process, port = server
    ask(port, "GET", f"/v1/models/m?key={WRONG}", None, bearer(WRONG))
    process.wait_for_line(r"REST: 127\.0\.0\.1 was refused: .* \(\d+ refusals? since the last such line\)")
    for key in (PREDICT, ADMIN, METRICS, WRONG):
        assert key not in process.text


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_a_body_is_not_waited_for(engine: str, tmp_path: Path) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    keys = ("--api_keys_file", str(write_keys(tmp_path / "keys")))
    with rest_serving(folder, "--rest_engine", engine, *keys) as (_, port):
        head = f"POST {PREDICTION} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n".encode()
        with Wire(port) as wire:
            assert wire.send(head, b"Expect: 100-continue\r\n\r\n").answer().status == 401
        with Wire(port) as wire:
            answer = wire.send(head, b"\r\n", b"x" * 1000).answer()
            assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_metrics_of_refusals_and_their_own_port(tmp_path: Path) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    port = free_port()
    options = ("--api_keys_file", str(write_keys(tmp_path / "keys")), "--metrics_port", str(port))
    with rest_serving(folder, *options) as (_, rest):
        assert ask(port, "GET", "/v2/health/ready").status == 200
        assert ask(port, "GET", "/metrics").status == 401
        assert ask(port, "GET", "/metrics", None, bearer(PREDICT)).status == 403
        for headers in ({}, bearer(WRONG), bearer(WRONG), bearer(METRICS)):
            ask(rest, "POST", PREDICTION, ROW, headers)
        page = ask(port, "GET", "/metrics", None, bearer(METRICS)).body.decode()
        for interface, reason, count in (
            ("REST", "no_key", 1),
            ("REST", "wrong_key", 2),
            ("REST", "scope", 1),
            ("gRPC", "no_key", 0),
            ("metrics", "no_key", 1),
            ("metrics", "scope", 1),
        ):
            assert f'ovms_refused_total{{interface="{interface}",reason="{reason}"}} {count}\n' in page


@NATIVE_ONLY
@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_http2(tmp_path: Path) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    keys = ("--api_keys_file", str(write_keys(tmp_path / "keys")))
    with rest_serving(folder, "--rest_engine", "native", *keys) as (_, port):
        body = ("--data-binary", ROW.decode())
        for headers, expected in (
            ((), 401),
            ((f"x-api-key: {WRONG}",), 401),
            ((f"authorization: Bearer {ADMIN}",), 403),
        ):
            sent = [word for header in headers for word in ("-H", header)]
            status, fields, content = curl(port, PREDICTION, *body, *sent)
            assert status == expected
            assert fields.get("www-authenticate") == ("Bearer" if status == 401 else None)
            assert json.loads(content) == {"error": WANTED if status == 401 else NOT_ALLOWED}
        status, _, content = curl(port, PREDICTION, *body, "-H", f"Authorization: Bearer {PREDICT}")
        assert (status, json.loads(content)) == (200, ROW_ANSWER)
        assert curl(port, "/v2/health/live")[0] == 200
