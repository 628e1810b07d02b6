"""What the native REST server has of its own: no Python on a prediction's way, and nobody waits for another model."""

import ctypes
import json
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from grpc_engines import NATIVE_ONLY
from hostile_client import parse, read_all
from rest_calls import ROW, ROW_ANSWER, Connection, Wire, ask, post
from server_under_test import PATIENCE, Server, foreign_environment, free_port, starting

from ovms import _native
from tests.models import slow, synthetic

pytestmark = NATIVE_ONLY

RUN = 0.3  # seconds of a run of the slow model, about
ROWS = 20_000
BATCH = b'{"instances": [' + b",".join([b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"] * ROWS) + b"]}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A slow model, a quick one, and one of any batch size, on one I/O thread."""
    root = tmp_path_factory.mktemp("models")
    folders = {
        "slow": slow.slow(RUN * 1000, root),
        "null": synthetic.null_model(root),
        "batch": synthetic.null_model(root, batch=-1, name="batch"),
    }
    models = [
        {"config": {"name": name, "base_path": str(path), "nireq": 1, "max_queue": 4}} for name, path in folders.items()
    ]
    file = root / "models.json"
    file.write_text(json.dumps({"model_config_list": models}))
    port = free_port()
    options = ("--port", "0", "--rest_port", str(port), "--rest_engine", "native", "--io_threads", "1")
    with starting("config", "--config_path", str(file), *options) as server:
        server.wait_until_ready()
        for _ in range(40):
            assert ask(port, "POST", "/v1/models/null:predict", ROW).json == ROW_ANSWER
        yield server, port
        assert server.stop() == 0, server.text


def times_of_quick_ones(port: int, count: int) -> list[float]:
    took = []
    with Connection(port) as connection:
        for _ in range(count):
            began = time.monotonic()
            assert connection.ask("POST", "/v1/models/null:predict", ROW).json == ROW_ANSWER
            took.append(time.monotonic() - began)
    return took


@pytest.mark.alone
def test_slow_models_keep_no_quick_one_waiting(served: tuple[Server, int]) -> None:
    _, port = served
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(ask, port, "POST", "/v1/models/slow:predict", ROW) for _ in range(4)]
        took = times_of_quick_ones(port, 50)
        assert not all(call.done() for call in waiting)
        assert [call.result().status for call in waiting] == [200] * 4
    assert statistics.median(took) < RUN / 4  # there are four runs to wait for


@pytest.mark.alone
def test_large_bodies_keep_no_small_one_waiting(served: tuple[Server, int]) -> None:
    """Half a megabyte of JSON is read, and more is written, by other threads than the one of connections."""
    _, port = served
    stop = threading.Event()
    answers: list[int] = []

    def load() -> None:
        with Connection(port) as connection:
            while not stop.is_set():
                answer = connection.ask("POST", "/v1/models/batch:predict", BATCH, {"Accept-Encoding": "identity"})
                answers.append(len(answer.json["predictions"]))

    thread = threading.Thread(target=load)
    thread.start()
    while len(answers) < 2:
        time.sleep(0.01)
    took = times_of_quick_ones(port, 200)
    stop.set()
    thread.join(PATIENCE)
    assert set(answers) == {ROWS}
    assert statistics.median(took) < 0.02


@pytest.mark.alone
def test_a_full_queue_is_told_at_once(served: tuple[Server, int]) -> None:
    _, port = served
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(port, "POST", "/v1/models/slow:predict", ROW), range(20)))
    refused = [answer for answer in answers if answer.status != 200]
    assert 5 <= len(answers) - len(refused) < 15  # one computed, four waiting; then whoever came later
    for answer in refused:
        assert answer.status == 429
        assert answer.headers["retry-after"] == "1"
        assert "is full: 4 requests wait already" in answer.error


def test_pipelined_requests_wait_for_a_slow_one(served: tuple[Server, int]) -> None:
    _, port = served
    requests = [("slow", ROW), ("null", ROW), ("none", ROW), ("batch", ROW), ("slow", ROW)]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"".join(post(f"/v1/models/{name}:predict", body) for name, body in requests))
        connection.shutdown(socket.SHUT_WR)
        answers = parse(read_all(connection))
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]


@pytest.mark.alone
def test_a_client_that_hangs_up_is_not_computed_for(served: tuple[Server, int]) -> None:
    server, port = served
    before = server.cpu_seconds()
    assert ask(port, "POST", "/v1/models/slow:predict", ROW).status == 200
    cost = server.cpu_seconds() - before
    with Wire(port) as first:
        first.send(post("/v1/models/slow:predict", ROW))
        time.sleep(RUN / 3)
        for _ in range(4):
            gone = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            gone.sendall(post("/v1/models/slow:predict", ROW))
            time.sleep(0.01)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.close()
        assert first.answer().status == 200
        before = server.cpu_seconds()
        assert ask(port, "POST", "/v1/models/slow:predict", ROW).status == 200
        assert server.cpu_seconds() - before < 3 * cost  # of five there were


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_no_python_on_the_way_of_a_prediction(tmp_path: Path) -> None:
    """Another process is answered while this one's interpreter is held by a call that does not let go of it."""
    frontend = pytest.importorskip("ovms._native.frontend")
    folder = synthetic.null_model(tmp_path, name="m")
    core, registry = _native.Core(), _native.Registry()
    registry.publish(core.load("m", 1, str(folder / "1" / "m.xml"), nireq=1))
    front_end = frontend.FrontEnd(registry, io_threads=1, threads=2)
    number = front_end.add_rest()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/m:predict"
    front_end.listen(number, listener.detach())
    front_end.start()
    (tmp_path / "row").write_bytes(ROW)
    many = f"{url}?[1-200]"
    script = (
        f"sleep 0.5; curl -sS --noproxy '*' -d @row '{many}' > out; curl -sS -d @row --http2-prior-knowledge '{url}'"
    )
    try:
        command = ["sh", "-c", script]
        with subprocess.Popen(command, cwd=tmp_path, env=foreign_environment(), stdout=subprocess.PIPE) as client:
            began = time.monotonic()
            ctypes.PyDLL(None).usleep(5_000_000)  # with the interpreter's lock
            held = time.monotonic() - began
            over = client.poll()
            out, _ = client.communicate(timeout=PATIENCE)
    finally:
        assert front_end.drain(number, 5)
        assert front_end.stop()
    assert held >= 5
    assert over == 0, "it was answered only later"
    answer = json.dumps(ROW_ANSWER, separators=(",", ":"))
    assert (tmp_path / "out").read_text() == answer * 200
    assert out.decode() == answer
