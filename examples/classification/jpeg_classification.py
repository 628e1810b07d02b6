"""Classify the pictures of a list, one a request, over gRPC.

A line of the list is the path of a JPEG, counted from the list's folder, and the number of its class.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from ovms_client import Client

from examples.classification.numpy_client import choose_output
from examples.client_calls import asking, choose_input, grpc_credentials
from examples.client_options import (
    LONGEST_SIDE,
    ExampleError,
    add_grpc_options,
    add_model_options,
    grpc_target,
    number_from,
    read_lines,
    run,
)
from examples.client_utils import print_statistics
from examples.pictures import as_input, read_picture


def main() -> None:
    options = parse_options()
    pictures = read_list(options.images_list)
    names = read_lines(options.class_names_path) if options.class_names_path else []
    target, times, correct = grpc_target(options), [], 0
    with Client(target, credentials=grpc_credentials(options)) as client:
        with asking(target, options.model_name):
            model = client.metadata(options.model_name)
        name = choose_input(model, options.input_name)
        for path, label in pictures:
            picture = read_picture(path).resize((options.size, options.size))
            inputs = {name: as_input([picture], name, model.inputs[name])}
            began = time.perf_counter()
            with asking(target, options.model_name):
                outputs = client.predict(options.model_name, inputs)
            times.append((time.perf_counter() - began) * 1e3)
            found = int(np.argmax(choose_output(outputs, options.output_name)[0]))
            correct += found == label
            seen = f"{found} {names[found]}" if found < len(names) else str(found)
            expected = f"{label} {names[label]}" if label < len(names) else str(label)
            verdict = "correct" if found == label else f"incorrect, should be {expected}"
            print(f"{path.name}: {seen}; {verdict}; {times[-1]:.2f} ms")
    print_statistics(times, 1)
    print(f"Classification accuracy: {100 * correct / len(pictures):.2f} % ({correct} of {len(pictures)})")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images_list", type=Path, default=Path("input_images.txt"), help="the list (default: %(default)s)")
    add("--class_names_path", type=Path, help="text file of names of classes, one a line (default: numbers only)")
    add_grpc_options(parser)
    add("--input_name", help="name of the input (default: the model's, if it has one)")
    add("--output_name", help="name of the output (default: the model's, if it has one)")
    add_model_options(parser, version=False)
    size = "pictures become SIZE x SIZE pixels (default: %(default)s)"
    add("--size", type=number_from(1, LONGEST_SIDE), default=224, help=size)
    return parser.parse_args()


def read_list(path: Path) -> list[tuple[Path, int]]:
    pictures = []
    for number, line in enumerate(read_lines(path), 1):
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise ExampleError(f"{path}, line {number}: expected a path and a class number, not {line.strip()!r}")
        pictures.append((path.parent / name.strip(), int(label)))
    if not pictures:
        raise ExampleError(f"{path}: the list is empty")
    return pictures


if __name__ == "__main__":
    run(main)
