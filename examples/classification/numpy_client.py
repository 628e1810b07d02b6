"""What the clients that send NumPy files have in common, whatever API they speak."""

import argparse
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.client_options import ExampleError, add_model_options, number_from, read_lines
from examples.client_utils import print_statistics
from examples.numpy_files import Array, check_request, load_array

Predict = Callable[[Array], Array]
"""Sends one batch and returns the output that was chosen, of which row i is about picture i."""

TRANSPOSES = {"nhwc2nchw": (0, 3, 1, 2), "nchw2nhwc": (0, 2, 3, 1)}


def add_numpy_options(parser: argparse.ArgumentParser) -> None:
    """The options of all these clients but the server's address."""
    add = parser.add_argument
    add("--images_numpy_path", type=Path, required=True, help="NumPy file of pictures, along its first axis")
    add("--labels_numpy_path", type=Path, help="NumPy file of their classes, for the accuracy")
    add("--class_names_path", type=Path, help="text file of names of classes, one a line (default: numbers only)")
    add("--input_name", help="name of the input (default: the model's, if it has one)")
    add("--output_name", help="name of the output (default: the model's, if it has one)")
    transpose = "whether to transpose the pictures (default: %(default)s)"
    add("--transpose_input", choices=["False", "True"], default="True", help=transpose)
    add("--transpose_method", choices=TRANSPOSES, default="nhwc2nchw", help="how (default: %(default)s)")
    iterations = "number of requests; pictures are used again if there are too few (default: 0, each counts once)"
    add("--iterations", type=number_from(0), default=0, help=iterations)
    add("--batchsize", type=number_from(1), default=1, help="pictures in a request (default: %(default)s)")
    add_model_options(parser)


@dataclass
class Work:
    """Pictures, their labels if they are known, and how they are to be sent."""

    images: Array
    labels: Array | None
    names: list[str]
    batch_size: int
    iterations: int
    counted: int
    """How many of the pictures that are sent count; those after them only fill up the last request."""

    def batch(self, iteration: int) -> Array:
        """Numbers of the pictures of a request, which start again after the last one."""
        first = iteration * self.batch_size
        return np.arange(first, first + self.batch_size) % len(self.images)


def read_work(options: argparse.Namespace) -> Work:
    """Read the files. Raises `ExampleError` for what does not fit."""
    images = load_array(options.images_numpy_path)
    if images.ndim == 0 or not len(images):
        raise ExampleError(f"{options.images_numpy_path}: no pictures: its shape is {list(images.shape)}")
    check_request((options.batchsize, *images.shape[1:]), images.dtype)
    labels = read_labels(options.labels_numpy_path, len(images)) if options.labels_numpy_path else None
    names = read_lines(options.class_names_path) if options.class_names_path else []
    if options.transpose_input == "True":
        if images.ndim != 4:
            raise ExampleError(
                f"{options.images_numpy_path}: shape {list(images.shape)} has no colours to transpose; "
                "use --transpose_input False"
            )
        images = images.transpose(TRANSPOSES[options.transpose_method])
    iterations = options.iterations or math.ceil(len(images) / options.batchsize)
    counted = options.iterations * options.batchsize or len(images)
    return Work(images, labels, names, options.batchsize, iterations, counted)


def read_labels(path: Path, count: int) -> Array:
    """The class of each of `count` pictures, i64 [count]. Raises `ExampleError`."""
    labels = load_array(path)
    if labels.shape not in ((count,), (count, 1)):
        raise ExampleError(f"{path}: labels of shape {list(labels.shape)} for {count} pictures")
    with np.errstate(invalid="ignore"):  # of NaN
        numbers = labels.reshape(-1).astype(np.int64) if labels.dtype.kind in "iuf" else None
    if numbers is None or not np.array_equal(numbers, labels.reshape(-1)):
        raise ExampleError(f"{path}: values of dtype {labels.dtype}, expected whole numbers: the classes")
    return numbers


def classify(work: Work, options: argparse.Namespace, predict: Predict) -> None:
    """Send all batches; print each one's results, then latencies and accuracy."""
    print("Start processing:")
    print(f"\tModel name: {options.model_name}")
    print(f"\tIterations: {work.iterations}")
    print(f"\tImages numpy path: {options.images_numpy_path}")
    print(f"\tImages in shape: {work.images.shape}, {work.images.dtype}\n")
    times, correct, seen = [], 0, 0
    for iteration in range(work.iterations):
        chosen = work.batch(iteration)
        batch = np.ascontiguousarray(work.images[chosen])
        began = time.perf_counter()
        output = predict(batch)
        times.append((time.perf_counter() - began) * 1e3)
        if output.ndim == 0 or len(output) != len(batch):
            raise ExampleError(f"the output has shape {list(output.shape)} for {len(batch)} pictures")
        speed = 1e3 * len(batch) / times[-1]
        print(f"Iteration {iteration + 1}; Processing time: {times[-1]:.2f} ms; speed {speed:.2f} fps")
        print("top results in a single batch:")
        for row, number in enumerate(chosen[: work.counted - iteration * work.batch_size]):
            found = int(np.argmax(output[row]))
            verdict = ""
            if work.labels is not None:
                label = int(work.labels[number])
                seen, correct = seen + 1, correct + (found == label)
                verdict = "; correct" if found == label else f"; incorrect, should be {_class(label, work.names)}"
            print(f"\t{row} {_class(found, work.names)}{verdict}")
    print_statistics(times, work.batch_size)
    if work.labels is not None:
        print(f"Classification accuracy: {100 * correct / seen:.2f} % ({correct} of {seen})")


def choose_output(outputs: dict[str, Array], name: str | None) -> Array:
    """The output of that name, or the only one."""
    check_output(outputs, name)
    return next(iter(outputs.values())) if name is None else outputs[name]


def check_output(outputs: Collection[str], name: str | None) -> None:
    """Raise `ExampleError` if there is no output of that name, or several and no name."""
    if name is None and len(outputs) != 1:
        problem = "choose one of several outputs"
    elif name is not None and name not in outputs:
        problem = f"no output {name!r}"
    else:
        return
    raise ExampleError(f"{problem}; available outputs: {', '.join(sorted(outputs))}")


def _class(number: int, names: list[str]) -> str:
    return f"{number} {names[number]}" if 0 <= number < len(names) else str(number)
