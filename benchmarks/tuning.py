"""Tuning rows: one setting at a time, against the server as it is without it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest

from benchmarks import load, messages, models
from benchmarks.load import H2Load, Load, Shape
from benchmarks.measure import Pace
from benchmarks.process import OURS, WORKERS, ServerProcess, Serving
from benchmarks.report import Section, Table, microseconds, times
from benchmarks.rest import RestServer
from benchmarks.rounds import Contestant, Result, closed, running
from tests.models import synthetic

TEXT = """
What one setting does to one model on this machine; `docs/tuning.md` says when to use which. The baseline of each table
is its first row. All servers of a table take turns in every round. Loads with one call in flight also tell how long a
call takes (p50). The models: `conv`, a convolutional network of about the cost of SqueezeNet for 602 kB of picture;
`conv-short`, a sixth of that; `null`, ten numbers plus one; `image`, 602 kB plus one. All compute in f32
(`INFERENCE_PRECISION_HINT`), so that answers can be compared.
"""
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
ALONE, BUSY = Shape(1, 1), Shape(4, 2)
BATCH = 8


@dataclass(frozen=True)
class Setting:
    """A server with a setting, and what its clients send."""

    folder: Path
    plugin: Mapping[str, str] = field(default_factory=dict)
    nireq: int = 0
    options: tuple[str, ...] = ()
    rest: bool = False
    array: np.ndarray | None = None
    """What is sent instead of the table's own picture."""
    listed: bool = False
    """As a typed list instead of `tensor_content`."""
    examples: int = 1
    """In each call."""

    def contestant(self, array: np.ndarray, expected: np.ndarray) -> Contestant:
        """The server, the request it gets and the client that sends it."""
        array = array if self.array is None else self.array
        expected = np.concatenate([expected] * self.examples)
        serving = Serving(self.folder, self.nireq, {**EXACT, **self.plugin}, WORKERS)
        if self.rest:
            body = json.dumps({"instances": array.tolist()}).encode()
            return Contestant(_Rest(OURS, serving, *self.options), body, expected, H2Load.rest(body))
        request = _listed(self.folder.name, array) if self.listed else messages.predict_request(self.folder.name, array)
        client = H2Load.grpc(request) if self.examples == 1 else _Batches.grpc(request)
        return Contestant(ServerProcess(OURS, serving, *self.options), request, expected, client)


class _Rest(RestServer):
    """A REST server of whose answers the first digits have to be right, as of those over gRPC."""

    tolerance = 1e-3


class _Batches(H2Load):
    """A client that has as many examples under way as others, in fewer calls."""

    def run(self, url: str, shape: Shape, calls: int, each: bool = False) -> Load:
        """So many calls; the streams of ``shape`` are examples."""
        return super().run(url, Shape(shape.connections, max(1, shape.streams // BATCH)), calls, each)


def run(pace: Pace) -> Section:
    """Measure each setting; ``pace.seconds`` of load for each server in each round."""
    section = Section("Tuning", TEXT)
    if not load.installed():
        section.text += "\nNot measured: there is no `h2load` here (package nghttp2-client)."
        return section
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        conv, short = models.convolutional(root), models.convolutional(root, "conv-short", 0.4)
        null, image = synthetic.null_model(root), synthetic.image_model(root)
        picture = np.random.default_rng(6).integers(0, 256, messages.IMAGE_SHAPE, np.uint8)
        pixels, ten = picture.astype(np.float32), np.arange(10, dtype=np.float32)[np.newaxis]
        for folder in (conv, short):
            first = {"no option (hint LATENCY)": Setting(folder)}
            _table(
                section, pace, f"Streams, infer requests and hints, `{folder.name}`", pixels, first | _streams(folder)
            )
        _table(section, pace, "Streams, `null`", ten, _small(null) | _streams(null))
        _table(section, pace, "Streams, `image`", pixels, _small(image))
        _table(section, pace, "Pinning, `conv`", pixels, _pinning(conv))
        _table(section, pace, f"Batches of {BATCH}, `conv-short`", pixels, _batches(short, pixels))
        for folder in (short, image):
            settings = {
                "f32": Setting(folder),
                "u8, `--precision u8:f32`": Setting(folder, options=("--precision", "u8:f32"), array=picture),
            }
            _table(section, pace, f"u8 or f32 pictures, `{folder.name}`", pixels, settings)
        for folder, array in ((null, ten), (short, pixels)):
            settings = {
                "gRPC, `tensor_content`": Setting(folder),
                "gRPC, `float_val`": Setting(folder, listed=True),
                "REST, JSON": Setting(folder, rest=True),
            }
            _table(section, pace, f"gRPC or REST, `{folder.name}`", array, settings)
        for folder, array in ((null, ten), (image, pixels)):
            threads = {f"`--io_threads {n}`": Setting(folder, options=("--io_threads", str(n))) for n in (1, 2)}
            _table(section, pace, f"I/O threads, `{folder.name}`", array, threads)
        for n in ("1", "2"):
            _table(section, pace, f"Busy polling, `null`, `--io_threads {n}`", ten, _polls(null, "--io_threads", n))
    return section


def _small(folder: Path) -> dict[str, Setting]:
    shared = {"NUM_STREAMS": "1"}
    return {"no option (small)": Setting(folder), "`NUM_STREAMS` 1 (hint LATENCY)": Setting(folder, shared)}


def _polls(folder: Path, *options: str) -> dict[str, Setting]:
    return {
        "`--busy_poll_us 0`": Setting(folder, options=(*options, "--busy_poll_us", "0")),
        "no option (as it pays)": Setting(folder, options=options),
        "`--busy_poll_us 50`": Setting(folder, options=(*options, "--busy_poll_us", "50")),
    }


def _streams(folder: Path) -> dict[str, Setting]:
    streams = {"NUM_STREAMS": "2"}
    return {
        "`NUM_STREAMS` 2": Setting(folder, streams),
        "`NUM_STREAMS` 2, `--nireq 1`": Setting(folder, streams, nireq=1),
        "`NUM_STREAMS` 2, `--nireq 4`": Setting(folder, streams, nireq=4),
        "`NUM_STREAMS` 1, `INFERENCE_NUM_THREADS` 1": Setting(
            folder, {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
        ),
        "`PERFORMANCE_HINT` THROUGHPUT": Setting(folder, {"PERFORMANCE_HINT": "THROUGHPUT"}),
    }


def _pinning(folder: Path) -> dict[str, Setting]:
    streams = {"NUM_STREAMS": "2"}
    return {
        "`NUM_STREAMS` 2": Setting(folder, streams),
        "`NUM_STREAMS` 2, `ENABLE_CPU_PINNING` YES": Setting(folder, {**streams, "ENABLE_CPU_PINNING": "YES"}),
        "`NUM_STREAMS` 2, `ENABLE_CPU_PINNING` NO": Setting(folder, {**streams, "ENABLE_CPU_PINNING": "NO"}),
    }


def _batches(folder: Path, pixels: np.ndarray) -> dict[str, Setting]:
    together = np.concatenate([pixels] * BATCH)
    batched = Setting(folder, options=("--batch_size", str(BATCH)), array=together, examples=BATCH)
    streams = {"NUM_STREAMS": "2"}
    return {
        "one picture a call": Setting(folder),
        "one picture a call, `NUM_STREAMS` 2": Setting(folder, streams),
        f"`--batch_size {BATCH}`, {BATCH} pictures a call": batched,
    }


def _table(section: Section, pace: Pace, title: str, array: np.ndarray, settings: Mapping[str, Setting]) -> None:
    batches = any(one.examples > 1 for one in settings.values())
    expected = _expected(next(iter(settings.values())).folder, array)
    contestants = {name: one.contestant(array, expected) for name, one in settings.items()}
    rows: list[list[str]] = []
    with running(contestants):
        for shape in (ALONE, Shape(1, 2 * BATCH) if batches else BUSY):
            results = closed(contestants, shape, pace, judged=False)
            rows += [_row(name, next(iter(settings)), shape, settings, results) for name in settings]
    note = f"Of a call with {BATCH} pictures, so many count as in flight." if batches else ""
    rate = "pictures/s" if batches else "calls/s"
    header = [
        "load",
        "setting",
        rate,
        "ratio",
        "p50 of a call",
        "ratio",
        f"CPU per {rate[:-3]}",
        "ratio",
        "taken by others",
    ]
    section.tables.append(Table(title, note, header, rows))


def _row(
    name: str, baseline: str, shape: Shape, settings: Mapping[str, Setting], results: Mapping[str, Result]
) -> Sequence[str]:
    def figures(of: str) -> tuple[float, float, float]:
        result, examples = results[of], settings[of].examples
        median = result.shortest(result.medians) if result.medians else 0.0
        return result.rate * examples, median, result.cheapest / examples

    (rate, median, cpu), (base_rate, base_median, base_cpu) = figures(name), figures(baseline)
    both = median and base_median
    result = results[name]
    return [
        *(str(shape), name, f"{rate:,.0f}", times(rate / base_rate)),
        *(microseconds(median) if median else "", f"{median / base_median:.2f}" if both else ""),
        *(microseconds(cpu), f"{cpu / base_cpu:.2f}", f"{result.others[result.best]:.0%}"),
    ]


def _expected(folder: Path, array: np.ndarray) -> np.ndarray:
    compiled = ov.Core().compile_model(folder / "1" / f"{folder.name}.xml", "CPU", EXACT)
    return np.array(compiled([array])[0])


def _listed(name: str, array: np.ndarray) -> bytes:
    request = PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].dtype = messages.TF_DTYPES[array.dtype.name]
    for size in array.shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    request.inputs["x"].float_val.extend(array.ravel().tolist())
    return bytes(request.SerializeToString())
