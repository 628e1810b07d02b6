"""How a server ends when it is told to."""

import ctypes
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from repository import until
from rest_calls import ask
from server_under_test import (
    PATIENCE,
    ROOT,
    Server,
    Stubs,
    begin_slow_call,
    clean_environment,
    free_port,
    serving,
    starting,
)
from slow_load import slow_to_load
from tensor_protos import array_of, request

from tests.models import slow, synthetic

# grpcio resets a call that reaches it in the instant of shutting down, before the client has heard of that: CANCELLED.
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow.slow(300, tmp_path_factory.mktemp("slow"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_calls_under_way_are_answered(slow_folder: Path, number: int, engine: str) -> None:
    with (
        serving(slow_folder, "--nireq", "1", "--grpc_workers", "8", "--grpc_engine", engine) as server,
        Stubs(server.address) as stubs,
        Stubs(server.address) as newcomer,
    ):
        calls = [
            stubs.prediction.Predict.future(request("slow", x=np.full((1, 10), n, np.float32)), timeout=PATIENCE)
            for n in range(4)
        ]
        # They went out together on one connection: when one is answered, the server has all of them.
        answered = threading.Event()
        for call in calls:
            call.add_done_callback(lambda _: answered.set())
        assert answered.wait(PATIENCE)
        server.signal(number)
        server.wait_for_line("Server stops: no new requests, 25 s for those under way")
        for n, call in enumerate(calls):
            assert array_of(call.result(PATIENCE).outputs["y"]).tolist() == [[float(n)] * 10]
        with pytest.raises(grpc.RpcError) as refused:
            newcomer.prediction.Predict(request("slow", x=np.zeros((1, 10), np.float32)), timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.wait(PATIENCE) == 0
        assert server.lines[-1].endswith("ovms.server - INFO - Server stopped")


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_under_load_every_call_is_answered_rightly_or_refused(tmp_path: Path, engine: str) -> None:
    with serving(synthetic.add(1, tmp_path), "--grpc_engine", engine) as server:
        clients = [Hammer(server.address, number) for number in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            assert client.warm.wait(PATIENCE)
        began = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - began < 20
        for client in clients:
            client.join(PATIENCE)
        assert [client.wrong for client in clients] == [[]] * 6
        assert all(client.ended_by in REFUSED for client in clients), [client.ended_by for client in clients]
        assert "cut off" not in server.text


class Hammer(threading.Thread):
    """Calls until it is refused; `wrong` has the answers that were not those to its questions."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__(daemon=True)
        self.warm = threading.Event()
        self.wrong: list[Any] = []
        self.ended_by: grpc.StatusCode | None = None
        self._address, self._number = address, number

    def run(self) -> None:
        value = self._number * 1000.0
        with Stubs(self._address) as stubs:
            for count in range(1_000_000):
                try:
                    x = np.full((1, 10), value + count % 1000, np.float32)
                    answer = stubs.prediction.Predict(request("add", x=x), timeout=PATIENCE)
                except grpc.RpcError as error:
                    self.ended_by = error.code()
                    return
                if not np.array_equal(array_of(answer.outputs["y"]), x + 1):
                    self.wrong.append(answer)
                if count == 50:
                    self.warm.set()


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_signal_ends_it_at_once(tmp_path: Path, engine: str) -> None:
    with serving(slow.slow(20_000, tmp_path), "--grpc_engine", engine) as server, Stubs(server.address) as stubs:
        call = begin_slow_call(server, stubs)
        server.signal()
        server.wait_for_line("Server stops")
        assert end_by_repeating(server, signal.SIGTERM) == 128 + signal.SIGTERM
        assert call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def end_by_repeating(server: Server, number: int) -> int:
    """The exit code after as many more signals as it takes, and it must not take long."""
    for _ in range(10):
        server.signal(number)
        try:
            return server.process.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("signals did not end the server")


def test_signals_from_two_sides_at_once_are_one(slow_folder: Path) -> None:
    """As `timeout` and some supervisors send them: to the process, and to its group."""
    with serving(slow_folder) as server, Stubs(server.address) as stubs:
        call = begin_slow_call(server, stubs)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)  # another one, because two of a kind may be delivered as one
        assert call.result(PATIENCE).model_spec.name == "slow"
        assert server.wait() == 0


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_drain_seconds_is_the_limit(tmp_path: Path, engine: str) -> None:
    with (
        serving(slow.slow(20_000, tmp_path), "--drain_seconds", "0.2", "--grpc_engine", engine) as server,
        Stubs(server.address) as stubs,
    ):
        call = begin_slow_call(server, stubs)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        assert "Server stops: no new requests, 0.2 s for those under way" in server.text
        assert "Requests still under way after 0.2 s were cut off" in server.text
        assert call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@pytest.mark.alone
def test_drain_seconds_is_one_limit_for_requests_and_unloading(tmp_path: Path) -> None:
    with serving(slow.slow(20_000, tmp_path), "--drain_seconds", "2") as server, Stubs(server.address) as stubs:
        call = begin_slow_call(server, stubs)
        began = time.monotonic()
        assert server.stop() == 0
        assert 2 <= time.monotonic() - began < 3.5
        assert call.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_client_who_has_left_still_computes_is_not_waited_for(tmp_path: Path, engine: str) -> None:
    with (
        serving(slow.slow(20_000, tmp_path), "--drain_seconds", "20", "--grpc_engine", engine) as server,
        Stubs(server.address) as stubs,
    ):
        begin_slow_call(server, stubs).cancel()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("engine", ENGINES)
def test_no_time_to_drain_and_nothing_to_drain(tmp_path: Path, engine: str) -> None:
    with serving(synthetic.add(1, tmp_path), "--drain_seconds", "0", "--grpc_engine", engine) as server:
        assert server.stop() == 0
        assert "cut off" not in server.text
        assert server.lines[-1].endswith("Server stopped")


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_requests_are_taken_until_a_balancer_can_have_seen_that_there_shall_be_none(
    tmp_path: Path, engine: str
) -> None:
    metrics = free_port()
    options = ("--shutdown_delay_seconds", "3", "--metrics_port", str(metrics), "--grpc_engine", engine)
    with serving(synthetic.add(1, tmp_path), *options) as server, Stubs(server.address) as stubs:
        assert stubs.health_of() == "SERVING"
        server.signal()
        server.wait_for_line("Not ready any more; new requests are taken for 3 s")
        until(lambda: stubs.health_of() == "NOT_SERVING", lambda: server.text)
        assert ask(metrics, "GET", "/v2/health/ready").status == 503
        with Stubs(server.address) as newcomer:
            for one in (stubs, newcomer):
                answer = one.prediction.Predict(request("add", x=np.zeros((1, 10), np.float32)), timeout=PATIENCE)
                assert np.array_equal(array_of(answer.outputs["y"]), np.ones((1, 10), np.float32))
        assert "Server stops" not in server.text
        assert server.wait() == 0
        assert server.lines[-1].endswith("Server stopped")


def test_a_server_that_was_never_ready_does_not_wait_for_a_balancer(tmp_path: Path) -> None:
    folder = slow_to_load(tmp_path)
    options = ("--model_name", "h", "--model_path", str(folder), "--port", "0", "--shutdown_delay_seconds", "3600")
    with starting("model", *options) as server:
        server.wait_for_line("Creating inference engine object")
        server.signal()
        assert server.wait() == 0
        assert "Not ready any more" not in server.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_server_that_still_loads(tmp_path: Path, number: int) -> None:
    folder, port = slow_to_load(tmp_path), free_port()
    with starting("model", "--model_name", "h", "--model_path", str(folder), "--port", str(port)) as server:
        server.wait_for_line("Creating inference engine object")
        server.signal(number)
        assert server.wait() == 0
        assert "listens on port" not in server.text
        assert "error" not in server.text.lower()


def test_a_second_signal_does_not_wait_for_a_load(tmp_path: Path) -> None:
    folder, port = slow_to_load(tmp_path, layers=8000), free_port()
    with starting("model", "--model_name", "h", "--model_path", str(folder), "--port", str(port)) as server:
        server.wait_for_line("Creating inference engine object")
        server.signal()
        server.wait_for_line("Server stops")
        assert end_by_repeating(server, signal.SIGINT) == 128 + signal.SIGINT


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_signal_that_another_thread_than_the_main_one_receives(tmp_path: Path, place: float) -> None:
    """The system may give a process's signal to any thread of it, and that does not wake the main one from a wait."""
    with serving(synthetic.add(1, tmp_path)) as server, Stubs(server.address) as stubs:
        stubs.prediction.Predict(request("add", x=np.zeros((1, 10), np.float32)), timeout=PATIENCE)
        process = server.process.pid
        others = sorted({int(task.name) for task in Path(f"/proc/{process}/task").iterdir()} - {process})
        assert ctypes.CDLL(None).tgkill(process, others[round(place * (len(others) - 1))], signal.SIGTERM) == 0
        assert server.wait(20) == 0


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_an_idle_connection_does_not_hold_it_up(tmp_path: Path, engine: str) -> None:
    with serving(synthetic.add(1, tmp_path), "--grpc_engine", engine) as server, Stubs(server.address) as stubs:
        assert stubs.health_of() == "SERVING"
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("engine", ENGINES)
def test_the_port_is_free_again_at_once(tmp_path: Path, engine: str) -> None:
    folder, port = synthetic.add(1, tmp_path), free_port()
    arguments = (
        "model",
        "--model_name",
        "add",
        "--model_path",
        str(folder),
        "--port",
        str(port),
        "--grpc_engine",
        engine,
    )
    for _ in range(2):
        with starting(*arguments) as server, Stubs(f"127.0.0.1:{port}") as stubs:
            assert server.wait_until_ready().port == port
            assert stubs.health_of() == "SERVING"
            assert server.stop() == 0


@pytest.mark.timed
def test_under_the_timeout_command(tmp_path: Path) -> None:
    """Its exit status 124 means that the time was up; the server's last line, that it ended in order."""
    folder = synthetic.add(1, tmp_path)
    command = [*("timeout", "8", sys.executable, "-m", "ovms", "model"), *("--model_name", "add")]
    done = subprocess.run(
        [*command, "--model_path", str(folder), "--port", "0"],
        capture_output=True, text=True, cwd=ROOT, env=clean_environment(), timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 124
    assert done.stderr.splitlines()[-1].endswith("Server stopped")
