"""The example clients and a server with TLS."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from example_scripts import Outcome, Served
from server_under_test import free_port, serving

from tests.certificates import Authority
from tests.models import synthetic

REST_ROWS = (
    *("--request_format", "row_name", "--output_name", "y", "--transpose_input", "False"),
    *("--rest_url", "https://localhost"),
)
SCRIPTS = (
    ("model_info/get_serving_meta.py", (), "Input name: x; shape: ["),
    ("model_info/rest_get_model_status.py", ("--rest_url", "https://localhost"), '"state": "AVAILABLE"'),
    ("throughput/throughput_client.py", ("--calls", "2", "--images_numpy_path", "x.npy"), "2 calls of 1"),
    ("classification/rest_serving_client.py", (*REST_ROWS, "--images_numpy_path", "x.npy"), "Iteration 1; "),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority()
    issued = authority.issue()
    for name, content in (
        ("ca.pem", authority.certificate),
        ("other.pem", Authority("another").certificate),
        ("none.pem", b"no certificate"),
        ("both.pem", issued.certificate + issued.key),
    ):
        (folder / name).write_bytes(content)
    np.save(folder / "x.npy", np.ones((1, 10), np.float32))
    options = ("--rest_port", str(rest_port := free_port()), "--tls_cert_file", str(folder / "both.pem"))
    with serving(synthetic.null_model(folder), *options) as server:
        yield Served(folder, server.port, rest_port)


def run(served: Served, script: str, arguments: tuple[str, ...], *tls: str) -> Outcome:
    found = [served.folder / one if one.endswith((".npy", ".pem")) else one for one in (*arguments, *tls)]
    return served.run(script, "--model_name", "null", *found)


@pytest.mark.parametrize(("script", "arguments", "expected"), SCRIPTS)
def test_with_the_right_authority(served: Served, script: str, arguments: tuple[str, ...], expected: str) -> None:
    outcome = run(served, script, arguments, "--tls_ca_file", "ca.pem")
    assert (outcome.code, outcome.err) == (0, "")
    assert expected in outcome.out


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (("--tls_ca_file", "other.pem"), "(?i)certificate.verify.failed"),
        (("--tls_ca_file", "none.pem"), r"none\.pem: no certificate in PEM$"),
        (("--tls_ca_file", "absent.pem"), r"absent\.pem: No such file or directory$"),
    ],
)
@pytest.mark.parametrize(("script", "arguments"), [one[:2] for one in SCRIPTS])
def test_with_another_one(
    served: Served, script: str, arguments: tuple[str, ...], tls: tuple[str, ...], expected: str
) -> None:
    assert re.search(expected, run(served, script, arguments, *tls).error())
