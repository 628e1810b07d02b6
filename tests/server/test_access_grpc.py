"""API keys on gRPC, with the protocols' own stubs, on either engine.

The ancestor let in everybody who reached its port, reloads included where there were any.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from grpc_health.v1 import health_pb2
from key_files import ADMIN, METRICS, NOT_ALLOWED, PREDICT, WANTED, WRONG, metadata, write_keys
from ovms_client import Client, errors
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from server_under_test import PATIENCE, Server, Stubs, serving
from tensor_protos import request

from tests.models import synthetic

Call = tuple[grpc.UnaryUnaryMultiCallable, Any]


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Stubs]]:
    root = tmp_path_factory.mktemp("keys")
    options = ("--grpc_engine", request.param, "--api_keys_file", str(write_keys(root / "keys")))
    with serving(synthetic.null_model(root), *options) as server, Stubs(server.address) as stubs:
        yield server, stubs


def calls(stubs: Stubs) -> dict[str, Call]:
    metadata_request = GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata_request.model_spec.name = "null"
    status = GetModelStatusRequest()
    status.model_spec.name = "null"
    return {
        "Predict": (stubs.prediction.Predict, request("null", x=np.zeros((1, 10), np.float32))),
        "GetModelMetadata": (stubs.prediction.GetModelMetadata, metadata_request),
        "GetModelStatus": (stubs.model.GetModelStatus, status),
        "Classify": (stubs.raw("/tensorflow.serving.PredictionService/Classify"), b""),
        "nothing": (stubs.raw("/tensorflow.serving.PredictionService/Nothing"), b""),
        "List": (stubs.raw("/grpc.health.v1.Health/List"), b""),
        "HandleReloadConfigRequest": (stubs.model.HandleReloadConfigRequest, ReloadConfigRequest()),
    }


def outcome(call: Call, *more: tuple[str, str]) -> tuple[str, str]:
    method, message = call
    try:
        method(message, timeout=PATIENCE, metadata=more)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


NAMES = ["Predict", "GetModelMetadata", "GetModelStatus", "Classify", "nothing", "List", "HandleReloadConfigRequest"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "brought",
    [
        (),
        (("authorization", f"Bearer {WRONG}"),),
        (("authorization", f"Basic {PREDICT}"),),
        (("authorization", PREDICT),),
        (("x-api-key", ""),),
        (("x-api-key", PREDICT[:-1]),),
        (("x-api-key", PREDICT + "x"),),
        (("x-api-key", "x" * 4000),),
        (("x-api-key", PREDICT), ("x-api-key", PREDICT)),
        (("x-api-key", ADMIN), ("authorization", f"Bearer {ADMIN}")),
        (("x-api-key", WRONG), ("x-api-key", WRONG), ("x-api-key", ADMIN)),
        (("api-key", PREDICT),),
    ],
)
def test_nothing_without_a_valid_key(
    server: tuple[Server, Stubs], name: str, brought: tuple[tuple[str, str], ...]
) -> None:
    assert outcome(calls(server[1])[name], *brought) == ("UNAUTHENTICATED", WANTED)


@pytest.mark.parametrize(
    "brought", [metadata(PREDICT), (("authorization", f"bearer  {PREDICT}"),), (("x-api-key", PREDICT),)]
)
def test_a_key_to_predict(server: tuple[Server, Stubs], brought: tuple[tuple[str, str], ...]) -> None:
    codes = {name: outcome(call, *brought)[0] for name, call in calls(server[1]).items()}
    assert codes == {
        "Predict": "OK",
        "GetModelMetadata": "OK",
        "GetModelStatus": "OK",
        "Classify": "UNIMPLEMENTED",
        "nothing": "UNIMPLEMENTED",
        "List": "OK",
        "HandleReloadConfigRequest": "PERMISSION_DENIED",
    }


def test_a_key_of_an_admin(server: tuple[Server, Stubs]) -> None:
    every = calls(server[1])
    reload = outcome(every.pop("HandleReloadConfigRequest"), *metadata(ADMIN))
    assert reload[0] == "FAILED_PRECONDITION"  # from the call itself: there is no file to read again
    for call in every.values():
        assert outcome(call, *metadata(ADMIN)) == ("PERMISSION_DENIED", NOT_ALLOWED)


def test_a_key_for_metrics_has_nothing_here(server: tuple[Server, Stubs]) -> None:
    for call in calls(server[1]).values():
        assert outcome(call, *metadata(METRICS)) == ("PERMISSION_DENIED", NOT_ALLOWED)


@pytest.mark.parametrize("brought", [(), metadata(WRONG), metadata(METRICS)])
def test_health_is_for_everybody(server: tuple[Server, Stubs], brought: tuple[tuple[str, str], ...]) -> None:
    _, stubs = server
    message = health_pb2.HealthCheckRequest(service="null")
    serves = health_pb2.HealthCheckResponse.SERVING
    assert stubs.health.Check(message, timeout=PATIENCE, metadata=brought).status == serves
    watch = stubs.health.Watch(message, timeout=PATIENCE, metadata=brought)
    assert next(watch).status == serves
    watch.cancel()


def test_a_connection_is_not_believed_because_of_its_last_call(server: tuple[Server, Stubs]) -> None:
    predict = calls(server[1])["Predict"]
    for _ in range(3):
        assert outcome(predict, *metadata(PREDICT))[0] == "OK"
        assert outcome(predict)[0] == "UNAUTHENTICATED"
        assert outcome(predict, *metadata(WRONG))[0] == "UNAUTHENTICATED"
        assert outcome(predict, *metadata(ADMIN))[0] == "PERMISSION_DENIED"


def test_no_key_stands_in_the_log(server: tuple[Server, Stubs]) -> None:
    process, stubs = server
    outcome(calls(stubs)["Predict"], *metadata(WRONG))
    process.wait_for_line(r"gRPC: 127\.0\.0\.1 was refused: .* \(\d+ refusals? since the last such line\)")
    for key in (PREDICT, ADMIN, METRICS, WRONG):
        assert key not in process.text


def test_predictions_that_python_computes(tmp_path: Path) -> None:
    """With DEBUG all calls are cold calls."""
    options = ("--api_keys_file", str(write_keys(tmp_path / "keys")), "--log_level", "DEBUG")
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(server.address) as stubs:
        predict = calls(stubs)["Predict"]
        assert outcome(predict)[0] == "UNAUTHENTICATED"
        assert outcome(predict, *metadata(ADMIN))[0] == "PERMISSION_DENIED"
        assert outcome(predict, *metadata(PREDICT))[0] == "OK"
        for key in (PREDICT, ADMIN):
            assert key not in server.text


def test_the_light_client(server: tuple[Server, Stubs]) -> None:
    address = server[0].address
    row = np.zeros((1, 10), np.float32)
    with Client(address, api_key=PREDICT) as client:
        np.testing.assert_array_equal(client.predict("null", row)["y"], row + 1)
    with Client(address) as client, pytest.raises(errors.Unauthenticated, match=WANTED):
        client.predict("null", row)
    with Client(address, api_key=ADMIN) as client, pytest.raises(errors.PermissionDenied, match=NOT_ALLOWED):
        client.predict("null", row)
