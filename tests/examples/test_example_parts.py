"""Parts of the examples that a live server would not bring to their limits."""

import argparse
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from example_scripts import run
from PIL import Image

from examples.classification.legacy_weights import read_legacy_weights
from examples.classification.numpy_client import read_work
from examples.client_options import ExampleError, host
from examples.client_utils import print_statistics
from examples.multi_inputs import sources
from examples.multi_inputs.sources import Player, read_frames
from examples.numpy_files import load_array
from examples.pictures import read_picture


def test_statistics(capsys: pytest.CaptureFixture[str]) -> None:
    print_statistics([1, 2, 3, 4, 10], 2)
    assert capsys.readouterr().out == (
        "\nprocessing time for all iterations\n"
        "average time: 4.00 ms; average speed: 500.00 fps\n"
        "median time: 3.00 ms; median speed: 666.67 fps\n"
        "max time: 10.00 ms; max speed: 200.00 fps\n"
        "min time: 1.00 ms; min speed: 2000.00 fps\n"
        "time percentile 90: 7.60 ms; speed percentile 90: 263.16 fps\n"
        "time percentile 50: 3.00 ms; speed percentile 50: 666.67 fps\n"
        "time standard deviation: 3.16\n"
        "time variance: 10.00\n"
    )


@pytest.mark.parametrize(
    ("method", "shape"), [("nhwc2nchw", (2, 3, 4, 5)), ("nchw2nhwc", (2, 5, 3, 4)), (None, (2, 4, 5, 3))]
)
def test_pictures_are_transposed(method: str | None, shape: tuple[int, ...], tmp_path: Path) -> None:
    pictures = np.arange(120, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.save(tmp_path / "imgs.npy", pictures)
    options = argparse.Namespace(
        images_numpy_path=tmp_path / "imgs.npy", labels_numpy_path=None, class_names_path=None, batchsize=1,
        iterations=0, transpose_input=str(method is not None), transpose_method=method,
    )  # fmt: skip
    images = read_work(options).images
    assert images.shape == shape
    if method == "nhwc2nchw":
        assert images[1, 2, 3, 4] == pictures[1, 3, 4, 2]
    if method == "nchw2nhwc":
        assert images[1, 4, 2, 3] == pictures[1, 3, 4, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("localhost", "localhost"), ("10.0.0.7", "10.0.0.7"), ("::1", "[::1]"), ("[fe80::1%eth0]", "[fe80::1%eth0]")],
)
def test_hosts_are_ready_for_a_port(text: str, expected: str) -> None:
    assert host(text) == expected


class Clock:
    """Time that only passes when it is slept through or spent."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def play(monkeypatch: pytest.MonkeyPatch, rate: float, spent: list[float]) -> tuple[list[int], int, float]:
    """Shades of the frames that came of six, the number of lost ones, and the time when the last one came."""
    clock = Clock()
    monkeypatch.setattr(sources, "time", clock)
    player = Player([Image.new("L", (1, 1), shade) for shade in range(4)], rate, 6)
    came, last = [], 0.0
    for frame, seconds in zip(player, spent, strict=False):
        came.append(frame.getpixel((0, 0)))
        last = clock.now
        clock.now += seconds
    return came, player.dropped, last


def test_frames_come_at_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    came, dropped, last = play(monkeypatch, 10, [0.01] * 9)
    assert (came, dropped) == ([0, 1, 2, 3, 0, 1], 0)
    assert last == pytest.approx(0.5)
    assert Player([], 10, 6).seconds == pytest.approx(0.6)


def test_frames_that_are_due_too_soon_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    came, dropped, _ = play(monkeypatch, 10, [0.01, 0.25, 0.01, 0.01])
    assert came == [0, 1, 3, 0]
    assert dropped == 1


def test_frames_without_a_rate_all_come(monkeypatch: pytest.MonkeyPatch) -> None:
    came, dropped, last = play(monkeypatch, 0, [2.0] * 9)
    assert (came, dropped, last) == ([0, 1, 2, 3, 0, 1], 0, 10.0)


def test_frames_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (10, 10), (0, shade, 0)) for shade in (0, 128, 255)]
    frames[0].save(tmp_path / "film.webp", save_all=True, append_images=frames[1:], lossless=True)
    read = read_frames(tmp_path / "film.webp", 4)
    assert [frame.getpixel((0, 0)) for frame in read] == [(0, 0, 0), (0, 128, 0), (0, 255, 0)]
    assert {frame.size for frame in read} == {(4, 4)}


@pytest.mark.parametrize(("chunk", "length"), [(b"IHDR", 5), (b"IDAT", 0)])
def test_a_damaged_picture_is_one_line(chunk: bytes, length: int, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save(file)
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(chunk) - 1] = length  # Pillow raises ValueError for the one and SyntaxError for the other
    file.write_bytes(damaged)
    for read in (read_picture, lambda path: read_frames(path, None)):
        with pytest.raises(ExampleError, match=rf"^{re.escape(str(file))}: \w"):
            read(file)


def test_a_damaged_numpy_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.zeros(3))
    file.write_bytes(file.read_bytes().replace(b"(3,)", b"(3,("))  # which NumPy's parser leaves with a TokenError
    with pytest.raises(ExampleError, match=rf"^{re.escape(str(file))}: not a NumPy file of numbers"):
        load_array(file)


def test_weights_that_would_run_something_are_refused(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    with (tmp_path / "weights.pth").open("wb") as file:
        for part in (1, 2, 3, Call()):
            pickle.dump(part, file)
    with pytest.raises(pickle.UnpicklingError, match="mkdir is not what weights are made of"):
        read_legacy_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("a", "b")])
def test_prepare_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    outcome = run("prepare.py", *arguments)
    assert (outcome.code, outcome.err) == (1, "usage: python examples/prepare.py FOLDER\n")
