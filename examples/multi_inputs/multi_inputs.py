"""Several sources of pictures at once, each in a thread with a connection of its own, over gRPC.

A source is a folder of pictures or an animation (GIF, WebP, APNG, TIFF), and plays at a rate as a camera does: a frame
that is due while the one before is still with the server is dropped. Every frame goes to each of the models.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from ovms_client import Client

from examples.client_calls import asking, choose_input, grpc_credentials
from examples.client_options import LONGEST_SIDE, ExampleError, add_tls_option, host, number_from, port, run
from examples.multi_inputs.sources import Player, read_frames
from examples.pictures import as_input


@dataclass
class Report:
    """What became of one source."""

    name: str
    milliseconds: list[float] = field(default_factory=list)
    """Of each frame: until all models have answered."""
    answers: Counter[str] = field(default_factory=Counter)
    """Of each model, how many."""
    shapes: dict[str, str] = field(default_factory=dict)
    """Of each model, the outputs of its last answer."""
    dropped: int = 0
    seconds: float = 0.0
    error: ExampleError | None = None

    def __str__(self) -> str:
        frames = len(self.milliseconds)
        if self.error is not None:
            return f"{self.name}: failed after {frames} frames: {self.error}"
        middle, slow = np.percentile(self.milliseconds, [50, 90])
        rate = f"{frames} frames, {frames / self.seconds:.1f} fps, {self.dropped} dropped"
        return f"{self.name}: {rate}, latency p50 {middle:.1f} ms, p90 {slow:.1f} ms"


def main() -> int:
    options = parse_options()
    frames = {path: read_frames(path, options.frame_size) for path in options.file}
    places = [(path, number) for path in options.file for number in range(options.num_cameras)]
    reports = [Report(f"source {place} ({path.name})") for place, (path, _) in enumerate(places)]
    threads = [
        threading.Thread(target=play, args=(options, Player(frames[path], options.fps, options.frames), report))
        for (path, _), report in zip(places, reports, strict=True)
    ]
    for thread in threads:
        thread.daemon = True  # Ctrl-C ends the program, whatever they wait for
        thread.start()
    for thread in threads:
        thread.join()
    seconds = max(report.seconds for report in reports)
    for report in reports:
        print(f"error: {report}" if report.error else report, file=sys.stderr if report.error else sys.stdout)
    for model in options.network_name:
        count = sum(report.answers[model] for report in reports)
        shapes = next((report.shapes[model] for report in reports if model in report.shapes), "nothing")
        print(f"{model}: {count} answers, {count / seconds:.1f} a second; the last one: {shapes}")
    return 1 if any(report.error for report in reports) else 0


def play(options: argparse.Namespace, player: Player, report: Report) -> None:
    """The thread of one source."""
    target = f"{options.ip}:{options.port}"
    began = time.perf_counter()
    try:
        with Client(target, credentials=grpc_credentials(options)) as client:
            models = {}
            for name in options.network_name:
                with asking(target, name):
                    model = client.metadata(name)
                models[name] = (key := choose_input(model, options.input_layer), model.inputs[key])
            began = time.perf_counter()
            for frame in player:
                sent = time.perf_counter()
                for name, (key, tensor) in models.items():
                    inputs = {key: as_input([frame], key, tensor)}
                    with asking(target, name):
                        answer = client.predict(name, inputs, outputs=options.output_layer)
                    report.answers[name] += 1
                    report.shapes[name] = ", ".join(f"{key} {list(array.shape)}" for key, array in answer.items())
                report.milliseconds.append((time.perf_counter() - sent) * 1e3)
    except ExampleError as error:
        report.error = error
    report.seconds = max(time.perf_counter() - began, player.seconds)  # the last frame has its time, too
    report.dropped = player.dropped


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    model = "a served model; give the option again for another one"
    add("-n", "--network_name", action="append", required=True, help=model)
    add("-l", "--input_layer", help="name of the input (default: each model's, if it has one)")
    output = "an output to send back; give the option again for another one (default: all)"
    add("-o", "--output_layer", action="append", help=output)
    frame_size = "frames become this many pixels square (default: as they are)"
    add("-d", "--frame_size", type=number_from(1, LONGEST_SIDE), help=frame_size)
    cameras = "sources that play each file, as if they were cameras (default: %(default)s)"
    add("-c", "--num_cameras", type=number_from(1), default=1, help=cameras)
    file = "folder of pictures, or animation; give the option again for another one"
    add("-f", "--file", type=Path, action="append", required=True, help=file)
    add("-i", "--ip", type=host, default="localhost", help="host of the server (default: %(default)s)")
    add("-p", "--port", type=port, default=9000, help="its gRPC port (default: %(default)s)")
    add_tls_option(parser)
    add(
        "--fps", type=rate, default=30.0, help="frames a second; 0: as fast as they are answered (default: %(default)s)"
    )
    add("--frames", type=number_from(1), default=100, help="frames that each source plays (default: %(default)s)")
    return parser.parse_args()


def rate(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{number} is not between 0 and 1000")
    return number


if __name__ == "__main__":
    run(main)
