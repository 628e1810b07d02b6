"""Keep many calls in flight over gRPC; print calls a second and percentiles of their latency.

Sends the pictures of a NumPy file, or zeros to a model whose shape is fixed but for the batch.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from ovms_client import AsyncClient, ServerError, TensorInfo

from examples.client_calls import asking, choose_input, grpc_credentials, number_dtype
from examples.client_options import ExampleError, add_grpc_options, add_model_options, grpc_target, number_from, run
from examples.numpy_files import Array, check_request, load_array

PERCENTILES = (50, 90, 99)


@dataclass
class Result:
    """What the calls that were counted have given."""

    milliseconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """By code."""


def main() -> int:
    options = parse_options()
    images = load_array(options.images_numpy_path) if options.images_numpy_path else None
    result, seconds = asyncio.run(load(options, images))
    report(options, result, seconds)
    return 1 if result.failures else 0


async def load(options: argparse.Namespace, images: Array | None) -> tuple[Result, float]:
    """Make all calls; returns what became of them, and the seconds that took."""
    target, version, result = grpc_target(options), options.model_version or 0, Result()
    async with AsyncClient(target, credentials=grpc_credentials(options)) as client:
        with asking(target, options.model_name):
            model = await client.metadata(options.model_name, version)
        name = choose_input(model, options.input_name)
        batches = make_batches(images, options.batchsize, name, model.inputs[name])
        numbers = iter(range(options.calls))  # shared: each call is made by whoever is free

        async def caller() -> None:
            for number in numbers:
                began = time.perf_counter()
                try:
                    await client.predict(options.model_name, {name: batches[number % len(batches)]}, version=version)
                except ServerError as error:
                    result.failures[error.code] += 1
                else:
                    result.milliseconds.append((time.perf_counter() - began) * 1e3)

        with asking(target, options.model_name):  # one that is not counted: it says what is wrong, if something is
            await client.predict(options.model_name, {name: batches[0]}, version=version)
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(options.in_flight)))
        return result, time.perf_counter() - began


def make_batches(images: Array | None, size: int, name: str, tensor: TensorInfo) -> list[Array]:
    """Whole batches of the pictures, in order; or one of zeros."""
    if images is None:
        shape = (size, *(tensor.shape or ())[1:])
        if tensor.shape is None or -1 in shape:
            raise ExampleError(f"input {name!r} has no fixed shape: give pictures with --images_numpy_path")
        dtype = number_dtype(name, tensor)
        check_request(shape, dtype)
        return [np.zeros(shape, dtype)]
    if images.ndim == 0 or len(images) < size:
        raise ExampleError(f"too few pictures for a batch of {size}: their shape is {list(images.shape)}")
    check_request((size, *images.shape[1:]), images.dtype)
    return [np.ascontiguousarray(images[at : at + size]) for at in range(0, len(images) - size + 1, size)]


def report(options: argparse.Namespace, result: Result, seconds: float) -> None:
    times = np.array(result.milliseconds)
    print(f"{len(times)} calls of {options.batchsize}, {options.in_flight} in flight, in {seconds:.2f} s")
    print(f"{len(times) / seconds:.1f} calls/s; {len(times) * options.batchsize / seconds:.1f} pictures/s")
    if len(times):
        percentiles = zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)
        told = ", ".join(f"p{percent} {value:.2f}" for percent, value in percentiles)
        print(f"latency in ms: mean {times.mean():.2f}, {told}, max {times.max():.2f}")
    for code, count in result.failures.items():
        print(f"failed calls: {count} {code}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_grpc_options(parser)
    add_model_options(parser)
    add("--images_numpy_path", type=Path, help="NumPy file of pictures, along its first axis (default: zeros)")
    add("--input_name", help="name of the input (default: the model's, if it has one)")
    add("--batchsize", type=number_from(1), default=1, help="pictures in a request (default: %(default)s)")
    add("--calls", type=number_from(1), default=1000, help="number of calls (default: %(default)s)")
    add("--in_flight", type=number_from(1), default=16, help="calls under way at once (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
