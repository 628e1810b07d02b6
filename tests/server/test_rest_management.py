"""What the configuration of a model means over REST: names of ``mapping_config.json``, and a queue that is full."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rest_calls import Answer, ask, rest_serving
from server_under_test import Server

from tests.models import slow, synthetic

NAMES = {"inputs": {"a": "left"}, "outputs": {"sum": "total", "larger": "is more"}}
PREDICT = "/v1/models/two:predict"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = synthetic.two_in_two_out(tmp_path_factory.mktemp("mapping"), "two", 1)
    (folder / "1" / "mapping_config.json").write_text(json.dumps(NAMES))
    with rest_serving(folder) as (_, port):
        yield port


def predict(port: int, body: object) -> Answer:
    return ask(port, "POST", PREDICT, json.dumps(body))


def test_predict_by_public_names(port: int) -> None:
    columns = predict(port, {"inputs": {"left": [[1, 2, 3, 4]], "b": [[3, 3, 3, 3]]}})
    assert (columns.status, columns.json) == (
        200,
        {
            "outputs": {
                "total": [[4.0, 5.0, 6.0, 7.0]], "diff": [[-2, -1, 0, 1]],
                "is more": [[False, False, False, True]], "bytes": [[3, 3, 3, 3]],
            }
        },
    )  # fmt: skip
    rows = predict(port, {"instances": [{"left": [1, 2, 3, 4], "b": [3, 3, 3, 3]}] * 2})
    assert rows.status == 200
    assert [set(row) for row in rows.json["predictions"]] == [{"total", "diff", "is more", "bytes"}] * 2


def test_metadata_has_public_names_and_the_models_own_beside_them(port: int) -> None:
    answer = ask(port, "GET", "/v1/models/two/metadata").json
    (signature,) = answer["metadata"]["signature_def"]["signatureDef"].values()
    assert {name: info["name"] for name, info in signature["inputs"].items()} == {"left": "a:0", "b": "b:0"}
    assert {name: info["name"] for name, info in signature["outputs"].items()} == {
        "total": "sum:0", "diff": "diff:0", "is more": "larger:0", "bytes": "bytes:0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"inputs": {"a": [[1, 2, 3, 4]], "b": [[3, 3, 3, 3]]}}, ["'a'", "'left'"]),
        ({"inputs": {"b": [[3, 3, 3, 3]]}}, ["left"]),
        ({"inputs": {"left": [[1, 2, 3]], "b": [[3, 3, 3, 3]]}}, ["left", "[1, 3]"]),
    ],
    ids=["the model's own name", "missing", "another shape"],
)
def test_errors_have_public_names(port: int, body: object, texts: list[str]) -> None:
    answer = predict(port, body)
    assert answer.status == 400
    assert all(text in answer.error for text in texts), answer.error


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A server that computes one request at a time, 400 ms each, and lets two wait."""
    with rest_serving(slow.slow(400, tmp_path), "--nireq", "1", "--max_queue", "2") as running:
        yield running


@pytest.mark.alone
def test_a_queue_that_is_full(busy: tuple[Server, int]) -> None:
    _, port = busy
    body = json.dumps({"instances": [[1.0] * 10]})
    with ThreadPoolExecutor(9) as clients:
        answers = list(clients.map(lambda _: ask(port, "POST", "/v1/models/slow:predict", body), range(9)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 6
    for answer in answers:
        if answer.status == 429:
            assert answer.headers["retry-after"] == "1"
            assert answer.error.startswith("the queue of model 'slow' version 1 is full: 2 requests wait already")
    assert ask(port, "POST", "/v1/models/slow:predict", body).status == 200
