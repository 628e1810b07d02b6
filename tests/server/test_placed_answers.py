"""Large answers, whose values the model writes where they are sent from: one infer request, all kinds of calls."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from http2_peer import Peer, framed, window
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from rest_calls import ask
from server_under_test import PATIENCE, Server, Stubs, free_port, serving
from tensor_protos import array_of, request

from tests.models import synthetic

SIZE = 20_001
EXACT = ("--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}', "--nireq", "1")
OUTPUTS = ("y", "few", "twin", "exact", "whole", "bytes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.large_outputs(tmp_path_factory.mktemp("placed"), SIZE)


@pytest.fixture(scope="module")
def rest_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(folder: Path, rest_port: int) -> Iterator[Server]:
    with serving(folder, *EXACT, "--rest_port", str(rest_port)) as server:
        yield server


@pytest.fixture
def stubs(server: Server) -> Iterator[Stubs]:
    with Stubs(server.address) as stubs:
        yield stubs


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (1, SIZE)).astype(np.float32)


def expected(x: np.ndarray) -> dict[str, np.ndarray]:
    y = x + 1
    return {
        "y": y,
        "few": y[:, :3],
        "twin": y,
        "exact": (2 * x).astype(np.float64),
        "whole": (2 * x).astype(np.int32),
        "bytes": x.astype(np.uint8),
    }


def check(stubs: Stubs, seed: int, *wanted: str) -> None:
    x = values(seed)
    message = request("large", x=x)
    message.output_filter.extend(wanted)
    answer = stubs.prediction.Predict(message, timeout=PATIENCE)
    right = expected(x)
    assert set(answer.outputs) == set(wanted or OUTPUTS)
    for name, tensor in answer.outputs.items():
        got = array_of(tensor)
        assert got.dtype == right[name].dtype, name
        np.testing.assert_array_equal(got, right[name], err_msg=name)


@NATIVE_ONLY
def test_all_outputs_and_each_alone(stubs: Stubs) -> None:
    check(stubs, 1)
    for number, name in enumerate(OUTPUTS):
        check(stubs, 2 + number, name)
    check(stubs, 20)


@NATIVE_ONLY
def test_another_order_is_the_requests(stubs: Stubs) -> None:
    for seed in range(30):
        names = random.Random(seed).sample(OUTPUTS, 1 + seed % len(OUTPUTS))
        check(stubs, seed, *names)


@NATIVE_ONLY
def test_json_and_refusals_between(rest_port: int, stubs: Stubs) -> None:
    for seed in range(5):
        check(stubs, seed)
        x = values(100 + seed)
        answer = ask(rest_port, "POST", "/v1/models/large:predict", json.dumps({"instances": x.tolist()}))
        assert answer.status == 200
        np.testing.assert_array_equal(np.array(answer.json["predictions"][0]["y"], np.float32), x[0] + 1)
        with pytest.raises(grpc.RpcError) as failure:
            stubs.prediction.Predict(request("large", x=x[:, :5]), timeout=PATIENCE)
        assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@NATIVE_ONLY
def test_every_client_gets_its_own_values(server: Server) -> None:
    def client(number: int) -> None:
        with Stubs(server.address) as stubs:
            calls = []
            for seed in range(number * 100, number * 100 + 20):
                message = request("large", x=values(seed))
                calls.append((seed, stubs.prediction.Predict.future(message, timeout=PATIENCE)))
            for seed, call in calls:
                right = expected(values(seed))
                for name, tensor in call.result().outputs.items():
                    np.testing.assert_array_equal(array_of(tensor), right[name], err_msg=f"{seed} {name}")

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(client, range(4)))


@NATIVE_ONLY
def test_an_output_that_is_an_input_itself(tmp_path: Path) -> None:
    """Alone and beside one that is computed: OpenVINO has one port for both."""
    for folder in (synthetic.identity("f32", [1, SIZE], tmp_path), synthetic.echo_and_add(SIZE, tmp_path)):
        with serving(folder, *EXACT) as server, Stubs(server.address) as stubs:
            for seed in range(5):
                x = values(seed)
                answer = stubs.prediction.Predict(request(folder.name, x=x), timeout=PATIENCE)
                for name, tensor in answer.outputs.items():
                    np.testing.assert_array_equal(array_of(tensor), {"x": x, "y": x + 1}[name], err_msg=name)


@NATIVE_ONLY
def test_an_answer_that_is_not_laid_out_leaves_those_before_alone(tmp_path: Path) -> None:
    """One of the outputs asked for has no fixed shape, and an earlier answer is still on its way."""
    folder = synthetic.large_and_dynamic(SIZE, tmp_path)

    def message(seed: int, *wanted: str) -> bytes:
        made = request("mixed", x=values(seed))
        made.output_filter.extend(wanted)
        return framed(made.SerializeToString())

    with serving(folder, *EXACT) as server, Peer(server.port, window(0)) as peer:

        def take(stream: int) -> bytes:
            peer.h2.increment_flow_control_window(1 << 20, stream)
            return peer.answer(stream).messages[0][1]

        peer.h2.increment_flow_control_window(1 << 28)
        for seed in range(20):
            waiting = peer.ask(message(seed, "few", "twice", "y"))
            peer.until(lambda waiting=waiting: bool(peer.answers[waiting].headers))  # type: ignore[misc]
            take(peer.ask(message(100 + seed, "few", "where", "y")))
            right = {"few": values(seed)[:, :3] + 1, "twice": 2 * values(seed)[:, :3] + 2, "y": values(seed) + 1}
            for name, tensor in PredictResponse.FromString(take(waiting)).outputs.items():
                np.testing.assert_array_equal(array_of(tensor), right[name], err_msg=f"{seed} {name}")


@NATIVE_ONLY
def test_both_engines_send_the_same_bytes(folder: Path) -> None:
    messages = [request("large", x=values(seed)).SerializeToString() for seed in (1, 2)]
    answers = []
    for engine in ("native", "grpcio"):
        with serving(folder, *EXACT, "--grpc_engine", engine) as server, Stubs(server.address) as stubs:
            predict = stubs.raw("/tensorflow.serving.PredictionService/Predict")
            answers.append([predict(message, timeout=PATIENCE) for message in messages])
    assert answers[0] == answers[1]


@NATIVE_ONLY
def test_typed_lists(folder: Path) -> None:
    with (
        serving(folder, *EXACT, SERIALIZATION_FUNCTION="_prepare_output_as_AppendArrayToTensorProto") as server,
        Stubs(server.address) as stubs,
    ):
        check(stubs, 7)
        check(stubs, 8, "y")
