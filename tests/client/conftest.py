"""The client from this tree, and a gRPC server in the test's own process for it to talk to."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import types_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))
sys.path.append(str(Path(__file__).parents[1] / "server"))

SERVICES = {
    "tensorflow.serving.PredictionService": ("Predict", "GetModelMetadata"),
    "tensorflow.serving.ModelService": ("GetModelStatus",),
}
INPUTS = {"echo": ("x",), "pair": ("a", "b"), "renamed": ("x",)}


@dataclass
class Server:
    """Echoes inputs as outputs; the model's name says how a call ends otherwise.

    ``code:NAME`` ends with that status code, ``slow`` outlives every deadline, ``garbage`` answers nonsense.
    """

    address: str = ""
    refused: str = ""
    """Status code with which every Predict ends while it is set."""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    """Method and parsed request of every call."""
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        request_class, reply = {
            "Predict": (predict_pb2.PredictRequest, self.predict),
            "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, self.get_model_metadata),
            "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, self.get_model_status),
        }[method]
        request = request_class.FromString(data)
        self.requests.append((method, request))
        name = request.model_spec.name
        if name.startswith("code:"):
            context.abort(grpc.StatusCode[name[5:]], f"refused {name}")
        if self.refused and method == "Predict":
            context.abort(grpc.StatusCode[self.refused], "refused")
        if name == "slow":
            self.released.wait(5)
        if name == "garbage":
            return b"\x0a\xff"
        data = reply(request).SerializeToString()
        return data

    def predict(self, request: Any) -> Any:
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        for key, tensor in request.inputs.items():
            if not request.output_filter or key in request.output_filter:
                response.outputs[key].CopyFrom(tensor)
        return response

    def get_model_metadata(self, request: Any) -> Any:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signature = signatures.signature_def["serving_default"]
        for key in INPUTS[request.model_spec.name]:
            info = signature.inputs[key]
            info.name, info.dtype = f"{key}:0", types_pb2.DT_FLOAT
            for size in (-1, 3):
                info.tensor_shape.dim.add(size=size)
        signature.outputs["y"].dtype = types_pb2.DT_STRING
        signature.outputs["y"].tensor_shape.unknown_rank = True
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = request.model_spec.version.value or 7
        response.metadata["signature_def"].Pack(signatures)
        return response

    def get_model_status(self, request: Any) -> Any:
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=2, state=30)
        failed = response.model_version_status.add(version=1, state=50)
        failed.status.error_code, failed.status.error_message = 2, "Error occurred while loading version"
        return response


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    def handler(method: str) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda data, context: state.answer(method, data, context))

    with ThreadPoolExecutor(4) as pool:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        grpc_server = grpc.server(pool, options=options)
        for service, methods in SERVICES.items():
            handlers = {method: handler(method) for method in methods}
            grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        state.address = f"127.0.0.1:{grpc_server.add_insecure_port('127.0.0.1:0')}"
        grpc_server.start()
        try:
            yield state
        finally:
            state.released.set()
            grpc_server.stop(None).wait()
