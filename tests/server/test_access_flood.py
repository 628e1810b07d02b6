"""A thousand wrong keys, again and again, beside a client with a good one."""

import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from grpc_engines import ENGINES
from key_files import METRICS, PREDICT, bearer, metadata, write_keys
from rest_calls import ROW, STRICT_ENGINES, Connection, ask, rest_serving
from server_under_test import PATIENCE, SANITIZED, Server, Stubs
from tensor_protos import request

from tests.models import synthetic

pytestmark = pytest.mark.timed

MESSAGE = request("null", x=np.zeros((1, 10), np.float32))
CALLS = 150
ORIGIN = "https://page.example"
MOST_SECONDS = 0.05
"""Of a call, mostly, on a machine that also sends the flood: what waits for refusals takes seconds."""

GRPC_FLOOD = """
    import select, sys
    import grpc
    channels = [grpc.insecure_channel(sys.argv[1], [("grpc.use_local_subchannel_pool", 1)]) for _ in range(10)]
    calls = [channel.unary_unary("/tensorflow.serving.PredictionService/Predict") for channel in channels]
    def flood():
        sent = [calls[n % 10].future(bytes(1000), metadata=[("x-api-key", f"wrong-key-{n:016}")]) for n in range(1000)]
        assert {one.code() for one in sent} == {grpc.StatusCode.UNAUTHENTICATED}
"""
REST_FLOOD = """
    import http.client, select, sys
    host, _, port = sys.argv[1].rpartition(":")
    page = {"origin": sys.argv[2]} if len(sys.argv) > 2 else {}
    connections = [http.client.HTTPConnection(host, int(port), timeout=60) for _ in range(50)]
    def flood():
        for n in range(20):
            for number, one in enumerate(connections):
                brought = {"x-api-key": f"wrong-{n:08}-{number:08}"} | page
                one.request("POST", "/v1/models/null:predict", bytes(1000), brought)
            for one in connections:
                answer = one.getresponse()
                assert answer.status == 401
                answer.read()
"""
ROUNDS = """
    flood()
    print("begun", flush=True)
    rounds = 1
    while not select.select([sys.stdin], [], [], 0)[0]:
        flood()
        rounds += 1
    print(rounds, flush=True)
"""


@contextmanager
def flooded(script: str, *arguments: str) -> Iterator[list[int]]:
    """While the block runs a process sends wrong keys; afterwards there is how many it has sent."""
    code = textwrap.dedent(script) + textwrap.dedent(ROUNDS)
    flood = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert flood.stdin is not None
    assert flood.stdout is not None
    try:
        assert flood.stdout.readline() == "begun\n"
        sent: list[int] = []
        yield sent
        assert flood.poll() is None
    finally:
        flood.stdin.close()
        rounds = flood.stdout.readline()
        flood.wait(PATIENCE)
        flood.stdout.close()
    sent.append(1000 * int(rounds))


def seconds(call: object) -> list[float]:
    took = []
    for _ in range(CALLS):
        began = time.monotonic()
        call()  # type: ignore[operator]
        took.append(time.monotonic() - began)
    return took


def wrong_keys(port: int, interface: str) -> int:
    page = ask(port, "GET", "/metrics", None, bearer(METRICS)).body.decode()
    return int(page.partition(f'ovms_refused_total{{interface="{interface}",reason="wrong_key"}} ')[2].split()[0])


def lines_of(server: Server) -> int:
    return sum("was refused" in line for line in server.lines)


@pytest.mark.parametrize("engine", ENGINES)
def test_grpc(engine: str, tmp_path: Path) -> None:
    keys = ("--api_keys_file", str(write_keys(tmp_path / "keys")))
    folder = synthetic.null_model(tmp_path)
    with rest_serving(folder, "--grpc_engine", engine, *keys) as (server, port), Stubs(server.address) as stubs:

        def call() -> None:
            stubs.prediction.Predict(MESSAGE, timeout=PATIENCE, metadata=metadata(PREDICT))

        began = time.monotonic()
        with flooded(GRPC_FLOOD, server.address) as sent:
            took = seconds(call)
            assert stubs.health_of() == "SERVING"
        assert wrong_keys(port, "gRPC") == sent[0]
        assert lines_of(server) <= time.monotonic() - began + 2
        assert SANITIZED or statistics.median(took) < MOST_SECONDS


@pytest.mark.parametrize("engine", STRICT_ENGINES)
@pytest.mark.parametrize("page", [(), (ORIGIN,), ("https://other.example",)], ids=["", "of a page", "of another page"])
def test_rest(engine: str, page: tuple[str, ...], tmp_path: Path) -> None:
    """Also if the keys come from pages that the server answers by rules of their own."""
    keys = ("--api_keys_file", str(write_keys(tmp_path / "keys")), *(("--allowed_origins", ORIGIN) if page else ()))
    folder = synthetic.null_model(tmp_path)
    with (
        rest_serving(folder, "--rest_engine", engine, *keys) as (server, port),
        Connection(port) as client,
        Stubs(server.address) as stubs,
    ):

        def call() -> None:
            assert client.ask("POST", "/v1/models/null:predict", ROW, bearer(PREDICT)).status == 200

        began = time.monotonic()
        with flooded(REST_FLOOD, f"127.0.0.1:{port}", *page) as sent:
            took = seconds(call)
            assert client.ask("GET", "/v2/health/ready").status == 200
            asked = time.monotonic()
            assert stubs.health_of() == "SERVING"
            assert SANITIZED or time.monotonic() - asked < 10 * MOST_SECONDS
        assert wrong_keys(port, "REST") == sent[0]
        assert lines_of(server) <= time.monotonic() - began + 2
        assert SANITIZED or statistics.median(took) < MOST_SECONDS
