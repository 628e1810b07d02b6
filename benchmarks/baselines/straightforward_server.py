"""The server one would write with the usual libraries: grpcio, protobuf messages, NumPy, OpenVINO's Python API.

    python -m benchmarks.baselines.straightforward_server --model_name NAME --model_path FOLDER --port PORT
        [--nireq N] [--plugin_config JSON] [--grpc_workers N]

It answers Predict and checks names, dtypes and shapes, so that a wrong request gets INVALID_ARGUMENT. Infer requests
are made up front and wait in a queue. Outputs are returned as tensor_content.
"""

import argparse
import json
import math
import queue
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import openvino as ov
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

LARGEST_MESSAGE = 1 << 30
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    9: np.dtype(np.int64),
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
LISTS = {1: "float_val", 3: "int_val", 4: "int_val", 9: "int64_val"}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict on one model."""

    def __init__(self, name: str, compiled: ov.CompiledModel, nireq: int) -> None:
        self._name = name
        # By name: dtype, and least and most of every dimension.
        self._inputs = {port.any_name: (port.element_type.to_dtype(), limits(port)) for port in compiled.inputs}
        self._outputs = {port.any_name: index for index, port in enumerate(compiled.outputs)}
        self._free: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(nireq):
            self._free.put(compiled.create_infer_request())

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """One inference; the infer request goes back to the queue whatever happens."""
        try:
            inputs = self._decode(request)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        infer_request = self._free.get()
        try:
            # Shared: OpenVINO reads the arrays where they are if it can, and does not copy its outputs.
            infer_request.infer(inputs, share_inputs=True, share_outputs=True)
            return self._encode(infer_request)
        finally:
            self._free.put(infer_request)

    def _decode(self, request: predict_pb2.PredictRequest) -> dict[str, Any]:
        if request.model_spec.name != self._name:
            raise ValueError(f"no model {request.model_spec.name!r}")
        if request.inputs.keys() != self._inputs.keys():
            raise ValueError(f"expected the inputs {sorted(self._inputs)}")
        arrays = {name: make_array(request.inputs[name]) for name in self._inputs}
        for name, array in arrays.items():
            dtype, sizes = self._inputs[name]
            if array.dtype != dtype or len(sizes) != array.ndim:
                raise ValueError(f"input {name}: expected {dtype} with {len(sizes)} dimensions")
            if not all(least <= size <= most for size, (least, most) in zip(array.shape, sizes, strict=True)):
                raise ValueError(f"input {name}: expected sizes {sizes}")
        return arrays

    def _encode(self, infer_request: ov.InferRequest) -> predict_pb2.PredictResponse:
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self._name
        for name, index in self._outputs.items():
            array = infer_request.get_output_tensor(index).data
            proto = response.outputs[name]
            proto.dtype = NUMBERS[array.dtype]
            for size in array.shape:
                proto.tensor_shape.dim.add(size=size)
            proto.tensor_content = array.tobytes()
        return response


def limits(port: Any) -> list[tuple[int, float]]:
    """Least and most of every dimension of an input."""
    sizes = [(dim.get_min_length(), dim.get_max_length()) for dim in port.partial_shape]
    return [(least, most if most >= 0 else math.inf) for least, most in sizes]


def make_array(proto: TensorProto) -> Any:
    """The tensor as an array: a view of its content, or a copy of its list."""
    if proto.dtype not in DTYPES:
        raise ValueError(f"dtype {proto.dtype} is not supported")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    dtype = DTYPES[proto.dtype]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    return np.array(getattr(proto, LISTS[proto.dtype]), dtype).reshape(shape)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed; the process's own arguments if none are given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_path", required=True, type=Path)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--nireq", type=int, default=2)
    parser.add_argument("--grpc_workers", type=int, default=4)
    parser.add_argument("--plugin_config", type=json.loads, default={})
    options = parser.parse_args(arguments)

    model = next((options.model_path / "1").glob("*.xml"))
    compiled = ov.Core().compile_model(model, "CPU", options.plugin_config)
    sizes = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.max_send_message_length", LARGEST_MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(options.grpc_workers), options=sizes)
    service = PredictionService(options.model_name, compiled, options.nireq)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
