"""The REST application alone, on calls that a test makes: every code's status, and what nobody foresaw."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from falcon import testing

from ovms.api.rest import RestCalls, make_rest_app
from ovms.config import Cors, RestConfig
from ovms.errors import Code, ServingError
from ovms.frontends.status import HTTP_STATUS

PREDICT = "/v1/models/m:predict"


def client(predict: Callable[..., bytes], rest: RestConfig | None = None, stopping: bool = False) -> testing.TestClient:
    """A client of an application whose predictions are these; nothing else of it is called."""
    nothing: Any = None
    calls = RestCalls(predict, nothing, nothing, nothing, nothing, nothing)
    return testing.TestClient(make_rest_app(calls, rest or RestConfig(), HTTP_STATUS, lambda: stopping))


def refusing(code: Code) -> Callable[..., bytes]:
    def predict(*arguments: object) -> bytes:
        raise ServingError(code, 'no "\u00e4\n')

    return predict


def test_the_table_of_statuses_is_total() -> None:
    assert set(HTTP_STATUS) == set(Code)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.CANCELLED, 499),
        (Code.UNKNOWN, 500),
        (Code.INVALID_ARGUMENT, 400),
        (Code.DEADLINE_EXCEEDED, 504),
        (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409),
        (Code.PERMISSION_DENIED, 403),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.FAILED_PRECONDITION, 400),
        (Code.ABORTED, 409),
        (Code.OUT_OF_RANGE, 400),
        (Code.UNIMPLEMENTED, 501),
        (Code.INTERNAL, 500),
        (Code.UNAVAILABLE, 503),
        (Code.DATA_LOSS, 500),
        (Code.UNAUTHENTICATED, 401),
    ],
)
def test_codes(code: Code, status: int) -> None:
    answer = client(refusing(code)).simulate_post(PREDICT, body=b"{}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content) == {"error": 'no "\u00e4\n'}
    assert answer.headers.get("retry-after") == ("1" if status in (429, 503) else None)


def test_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    def predict(*arguments: object) -> bytes:
        raise KeyError("a secret")

    with caplog.at_level(logging.ERROR):
        answer = client(predict).simulate_post(PREDICT, body=b"{}")
    assert (answer.status_code, answer.json) == (500, {"error": "internal error"})
    (record,) = caplog.records
    assert record.getMessage() == f"Unexpected error in POST {PREDICT}"
    assert record.exc_info
    assert "a secret" in str(record.exc_info[1])


def test_what_a_prediction_is_called_with() -> None:
    seen = []

    def predict(*arguments: object) -> bytes:
        seen.append(arguments)
        return b"[1]"

    asking = client(predict, RestConfig(timeout_seconds=7))
    body = bytes(range(256))
    asking.simulate_post("/v1/models/a/versions/2:predict", body=body)
    asking.simulate_post("/v1/models/a/labels/b:predict", body=body, headers={"X-Request-Timeout": "0.5"})
    answer = asking.simulate_post("/v1/models/a:predict")
    assert seen == [("a", 2, None, body, 7.0), ("a", 0, "b", body, 0.5), ("a", 0, None, b"", 7.0)]
    assert (answer.status_code, answer.content) == (200, b"[1]")


def test_while_stopping() -> None:
    answer = client(refusing(Code.INTERNAL), stopping=True).simulate_post(PREDICT)
    assert (answer.status_code, answer.json) == (503, {"error": "the server is stopping"})
    assert answer.headers["connection"] == "close"


def test_a_page_of_another_origin_learns_of_errors() -> None:
    asking = client(refusing(Code.NOT_FOUND), RestConfig(cors=Cors(("*",))))
    answer = asking.simulate_post(PREDICT, headers={"Origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
