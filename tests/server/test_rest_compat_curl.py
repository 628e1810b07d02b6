"""curl, as tutorials have it."""

import gzip
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_models import Documented, serving_documented
from server_under_test import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

PREDICTED = {"predictions": [2.5, 3.0, 4.5]}
LONG = json.dumps({"instances": [float(number) for number in range(5000)]})
LONG_ANSWER = {"predictions": [number / 2 + 2 for number in range(5000)]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    with serving_documented(tmp_path_factory.mktemp("documented")) as documented:
        yield documented


def curl(served: Documented, arguments: str, folder: Path) -> str:
    """What curl prints, run in `folder` with its body.json as input; URL stands for the server's address."""
    command = ["curl", "-sS", "--noproxy", "*", *shlex.split(arguments.replace("URL", served.url))]
    file = folder / "body.json"
    stdin = file.read_bytes() if file.exists() else b""
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        """-d '{"instances": [1.0,2.0,5.0]}' -X POST URL/v1/models/half_plus_two:predict""",
        """-d '{"instances": [1.0,2.0,5.0]}' URL/v1/models/half_plus_two:predict""",
        """-X POST URL/v1/models/half_plus_two:predict -d '{"instances": [1.0,2.0,5.0]}'""",
        """-X POST -H "Content-Type: application/json" -d @body.json URL/v1/models/half_plus_two:predict""",
        "--data-binary @body.json URL/v1/models/half_plus_two/versions/1:predict",
        "--data-binary @- -X POST URL/v1/models/half_plus_two:predict",
        "-T body.json -X POST URL/v1/models/half_plus_two:predict",
        "-T - -X POST URL/v1/models/half_plus_two:predict",
        "-H 'Transfer-Encoding: chunked' -d @body.json URL/v1/models/half_plus_two:predict",
        "-H 'Content-Encoding: gzip' --data-binary @body.json.gz URL/v1/models/half_plus_two:predict",
        "--http1.0 -d @body.json URL/v1/models/half_plus_two:predict",
        "--http2 -d @body.json URL/v1/models/half_plus_two:predict",
        "-H 'Expect: 100-continue' -d @body.json URL/v1/models/half_plus_two:predict",
    ],
)
def test_predict(served: Documented, tmp_path: Path, arguments: str) -> None:
    body = b'{\n  "instances": [1.0, 2.0, 5.0]\n}\n'
    (tmp_path / "body.json").write_bytes(body)
    (tmp_path / "body.json.gz").write_bytes(gzip.compress(body))
    assert json.loads(curl(served, arguments, tmp_path)) == PREDICTED


@pytest.mark.parametrize("option", ["", "-H 'Expect:'", "--compressed", "--tr-encoding", "--keepalive-time 2"])
def test_a_long_body(served: Documented, tmp_path: Path, option: str) -> None:
    """Over 1 MiB curl asks whether it may send the body."""
    (tmp_path / "body.json").write_text(LONG + " " * (2 << 20))
    arguments = f"{option} -d @body.json URL/v1/models/half_plus_two:predict"
    assert json.loads(curl(served, arguments, tmp_path)) == LONG_ANSWER


def test_compressed_is_compressed(served: Documented, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(LONG)
    sizes = [
        int(curl(served, f"{option} -d @body.json -o out -w '%{{size_download}}' {PREDICT}", tmp_path))
        for option in ("", "--compressed")
    ]
    assert sizes[1] < sizes[0] / 2


PREDICT = "URL/v1/models/half_plus_two:predict"


def test_status(served: Documented, tmp_path: Path) -> None:
    """Byte for byte as the ancestor prints it."""
    assert curl(served, "URL/v1/models/half_plus_three", tmp_path).rstrip("\n") == (
        '{\n  "model_version_status": [\n    {\n      "version": "123",\n      "state": "AVAILABLE",\n'
        '      "status": {\n        "error_code": "OK",\n        "error_message": ""\n      }\n    }\n  ]\n}'
    )


def test_headers(served: Documented, tmp_path: Path) -> None:
    head, _, body = curl(served, f"""-i -d '{{"instances": [1.0,2.0,5.0]}}' -X POST {PREDICT}""", tmp_path).partition(
        "\r\n\r\n"
    )
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == "HTTP/1.1 200 OK"
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body) == PREDICTED


def test_an_error(served: Documented, tmp_path: Path) -> None:
    arguments = """-i -d '{"instances": [1.0,5.0]}' -X POST URL/v1/models/half:predict"""
    head, _, body = curl(served, arguments, tmp_path).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404 Not Found\r\n")
    assert "Servable not found for request: " in json.loads(body)["error"]


def test_head_and_options(served: Documented, tmp_path: Path) -> None:
    answer = curl(served, "-I URL/v1/models/half_plus_two", tmp_path)
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("\r\n\r\n")
    assert "POST" in curl(served, f"-i -X OPTIONS {PREDICT}", tmp_path).partition("\r\n\r\n")[0]


def test_many_at_once(served: Documented, tmp_path: Path) -> None:
    requests = " --next ".join(f"""-d '{{"instances": [{number}]}}' {PREDICT}""" for number in range(20))
    answers = curl(served, f"-w '\\n' {requests}", tmp_path).replace("}", "}\n").split("\n")
    values = [json.loads(line)["predictions"] for line in answers if line.strip()]
    assert values == [[number / 2 + 2] for number in range(20)]
