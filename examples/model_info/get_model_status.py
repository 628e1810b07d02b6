"""Print the state of a model's versions, asked for over gRPC."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ovms_client import Client

from examples.client_calls import asking, grpc_credentials
from examples.client_options import add_grpc_options, add_model_options, grpc_target, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_model_options(parser)
    options = parser.parse_args()
    target = grpc_target(options)
    print(f"Getting model status for model: {options.model_name}")
    with Client(target, credentials=grpc_credentials(options)) as client, asking(target, options.model_name):
        versions = client.status(options.model_name, options.model_version or 0)
    for version in versions:
        print(f"\nModel version: {version.version}")
        print(f"State: {version.state}")
        print(f"Error code: {version.error_code}")
        print(f"Error message: {version.error_message}")


if __name__ == "__main__":
    run(main)
