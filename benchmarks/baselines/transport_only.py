"""What grpcio costs by itself: a server that does nothing with a request's bytes and always answers the same bytes.

    python -m benchmarks.baselines.transport_only --model_path FOLDER --port PORT [--grpc_workers N] [other options]

Its one answer is a PredictResponse with the input's own shape and 1 added to ones, worked out at the first request; no
grpcio server that takes and returns Python bytes can cost less.
"""

import argparse
from concurrent import futures

import grpc
import numpy as np
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

LARGEST_MESSAGE = 1 << 30


class Constant:
    """The answer to the first request, for every request."""

    def __init__(self) -> None:
        self._answer: bytes | None = None

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Return the answer; the request is looked at only once."""
        if self._answer is None:
            tensor = PredictRequest.FromString(request).inputs["x"]
            response = PredictResponse()
            response.outputs["y"].CopyFrom(tensor)
            response.outputs["y"].tensor_content = (np.frombuffer(tensor.tensor_content, np.float32) + 1).tobytes()
            self._answer = response.SerializeToString()
        return self._answer


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--grpc_workers", type=int, default=4)
    arguments, _ = parser.parse_known_args()
    sizes = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.max_send_message_length", LARGEST_MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(arguments.grpc_workers), options=sizes)
    predict = {"Predict": grpc.unary_unary_rpc_method_handler(Constant())}
    server.add_registered_method_handlers("tensorflow.serving.PredictionService", predict)
    server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
