"""Send pictures of a NumPy file over gRPC with tensorflow-serving-api; print classes, latencies and the accuracy."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from examples.classification.numpy_client import add_numpy_options, choose_output, classify, read_work
from examples.client_options import add_grpc_options, choose_name, grpc_target, run
from examples.numpy_files import Array
from examples.tensorflow_serving_api.calls import SECONDS, asking, channel, model_spec

# gRPC takes answers of up to 4 MB unless it is told otherwise.
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_numpy_options(parser)
    options = parser.parse_args()
    work = read_work(options)
    target = grpc_target(options)
    with channel(options, CHANNEL_OPTIONS) as connection:
        stub = PredictionServiceStub(connection)
        name = options.input_name or sole_input(stub, options, target)

        def predict(batch: Array) -> Array:
            request = PredictRequest(model_spec=model_spec(options))
            request.inputs[name].CopyFrom(make_tensor_proto(batch))
            with asking(target, options.model_name):
                answer = stub.Predict(request, SECONDS)
            return choose_output(
                {key: make_ndarray(value) for key, value in answer.outputs.items()}, options.output_name
            )

        classify(work, options, predict)


def sole_input(stub: PredictionServiceStub, options: argparse.Namespace, target: str) -> str:
    """Name of the input of a model that has one."""
    request = GetModelMetadataRequest(model_spec=model_spec(options), metadata_field=["signature_def"])
    with asking(target, options.model_name):
        answer = stub.GetModelMetadata(request, SECONDS)
    signatures = SignatureDefMap.FromString(answer.metadata["signature_def"].value).signature_def
    return choose_name(options.model_name, signatures["serving_default"].inputs, None)


if __name__ == "__main__":
    run(main)
