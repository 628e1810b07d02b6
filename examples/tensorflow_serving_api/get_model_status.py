"""Print the state of a model's versions, asked for over gRPC with tensorflow-serving-api."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tensorflow.core.protobuf.error_codes_pb2 import Code
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

from examples.client_options import add_grpc_options, add_model_options, grpc_target, run
from examples.tensorflow_serving_api.calls import SECONDS, asking, channel, model_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_model_options(parser)
    options = parser.parse_args()
    target = grpc_target(options)
    print(f"Getting model status for model: {options.model_name}")
    request = GetModelStatusRequest(model_spec=model_spec(options))
    with channel(options) as connection, asking(target, options.model_name):
        answer = ModelServiceStub(connection).GetModelStatus(request, SECONDS)
    for version in answer.model_version_status:
        print(f"\nModel version: {version.version}")
        print(f"State: {ModelVersionStatus.State.Name(version.state)}")
        print(f"Error code: {Code.Name(version.status.error_code)}")
        print(f"Error message: {version.status.error_message}")


if __name__ == "__main__":
    run(main)
