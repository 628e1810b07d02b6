"""Send the pictures of a folder to a detector again and again, over gRPC, and print how long that takes."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ovms_client import Client

from examples.client_calls import asking, grpc_credentials
from examples.client_options import grpc_target, number_from, run
from examples.client_utils import print_statistics
from examples.face_detection.folder import add_folder_options, read_batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_folder_options(parser)
    help_text = "how often each batch is sent (default: %(default)s)"
    parser.add_argument("--iterations", type=number_from(1), default=1000, help=help_text)
    options = parser.parse_args()
    target, times = grpc_target(options), []
    with Client(target, credentials=grpc_credentials(options)) as client:
        with asking(target, options.model_name):
            model = client.metadata(options.model_name)
        for number, batch in enumerate(read_batches(options, model, fill=True), 1):
            print(f"Batch {number}: {', '.join(path.name for path in batch.files)}, {options.iterations} times")
            for _ in range(options.iterations):
                began = time.perf_counter()
                with asking(target, options.model_name):
                    client.predict(options.model_name, batch.inputs)
                times.append((time.perf_counter() - began) * 1e3)
    print_statistics(times, options.batch_size)


if __name__ == "__main__":
    run(main)
