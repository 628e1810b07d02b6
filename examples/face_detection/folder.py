"""A folder of pictures as batches for a detector; what the two clients of this example have in common."""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ovms_client import ModelMetadata
from PIL import Image

from examples.client_calls import choose_input
from examples.client_options import LONGEST_SIDE, add_grpc_options, number_from
from examples.numpy_files import Array, check_request
from examples.pictures import as_input, picture_files, read_picture


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    folder = Path("build/examples/people")
    add("--model_name", default="face-detection", help="name of the served model (default: %(default)s)")
    add("--input_name", help="name of the input (default: the model's, if it has one)")
    add("--input_images_dir", type=Path, default=folder, help="folder of pictures (default: %(default)s)")
    add("--batch_size", type=number_from(1), default=1, help="pictures in a request (default: %(default)s)")
    side = number_from(1, LONGEST_SIDE)
    add("--width", type=side, default=1200, help="pictures are resized to this (default: %(default)s)")
    add("--height", type=side, default=800, help="and this (default: %(default)s)")
    add_grpc_options(parser)


@dataclass(frozen=True)
class Batch:
    """Pictures of one size, and what to send for them."""

    files: list[Path]
    pictures: list[Image.Image]
    inputs: dict[str, Array]


def read_batches(options: argparse.Namespace, model: ModelMetadata, fill: bool = False) -> Iterator[Batch]:
    """All pictures of the folder; the last batch has those that are left, and with `fill` the first ones again."""
    name = choose_input(model, options.input_name)
    files = picture_files(options.input_images_dir)
    if fill:
        check_request((options.batch_size, options.height, options.width, 3), np.dtype(np.uint8))
        again = itertools.cycle(list(files))
        files += itertools.islice(again, -len(files) % options.batch_size)
    for first in range(0, len(files), options.batch_size):
        chosen = files[first : first + options.batch_size]
        pictures = [read_picture(path).resize((options.width, options.height)) for path in chosen]
        yield Batch(chosen, pictures, {name: as_input(pictures, name, model.inputs[name])})
