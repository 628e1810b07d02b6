"""Send pictures of a NumPy file over gRPC; print classes, latencies and, with labels, the accuracy."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ovms_client import Client

from examples.classification.numpy_client import add_numpy_options, choose_output, classify, read_work
from examples.client_calls import asking, choose_input, grpc_credentials
from examples.client_options import add_grpc_options, grpc_target, run
from examples.numpy_files import Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_numpy_options(parser)
    options = parser.parse_args()
    work = read_work(options)
    target = grpc_target(options)
    version = options.model_version or 0
    with Client(target, credentials=grpc_credentials(options)) as client:
        with asking(target, options.model_name):
            model = client.metadata(options.model_name, version)
        name = choose_input(model, options.input_name)

        def predict(batch: Array) -> Array:
            with asking(target, options.model_name):
                outputs = client.predict(options.model_name, {name: batch}, version=version)
            return choose_output(outputs, options.output_name)

        classify(work, options, predict)


if __name__ == "__main__":
    run(main)
