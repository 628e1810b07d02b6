"""Predict rows: one call of the data plane inside this process, against bare OpenVINO in C++."""

import ctypes
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import messages
from benchmarks.measure import Pace, SamplingProcess, interleaved, local
from benchmarks.native import bare_infer
from benchmarks.report import Section, Table, Target, microseconds, times
from ovms import _native
from tests.models import slow, synthetic

TEXT = """
`ovms._native.predict(registry, request)`: the bytes of a PredictRequest in, the bytes of a PredictResponse out, called
from Python. Baseline: `native/bare_infer.cpp`, a C++ loop over the same model file with the same OpenVINO properties
that copies the input into the request's tensor, calls `infer()`, and copies the output out. The two take turns in
every round; the figures are those of the fastest round.
"""

CONFIG = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
THREADED_CONFIG = {"INFERENCE_NUM_THREADS": "2", "NUM_STREAMS": "2"}
THREADED_NIREQ = 4
THREADS = (1, 2, 4)
SLOW_STEPS = 400  # about a millisecond
LONGEST_OVERHEAD = 4e-6


def run(pace: Pace) -> Section:
    """Measure the predict path inside this process."""
    section = Section("Predict, in process", TEXT)
    with tempfile.TemporaryDirectory() as folder:
        section.tables.append(_against_bare(Path(folder), pace, section))
        section.tables.append(_threads(Path(folder), pace))
    return section


def _against_bare(root: Path, pace: Pace, section: Section) -> Table:
    rows = []
    null, image = synthetic.null_model(root), synthetic.image_model(root)
    for folder, shape in ((null, (1, 10)), (image, messages.IMAGE_SHAPE)):
        registry = _published(folder, CONFIG, nireq=1)
        array = np.ones(shape, np.float32)
        request = messages.predict_request(folder.name, array)
        calls = {
            name: _predict(registry, _placed(request, array, name == "aligned")) for name in ("aligned", "misaligned")
        }
        command: list[str | Path] = [
            bare_infer(),
            _model_file(folder),
            *(f"{key}={value}" for key, value in CONFIG.items()),
        ]
        with SamplingProcess(command) as bare:
            timings = interleaved({"bare": bare.sampler()} | {name: local(call) for name, call in calls.items()}, pace)
        floor = timings.pop("bare").best
        for name, measured in timings.items():
            over = measured.best - floor
            title = f"{folder.name}, {array.nbytes:,} B each way, {name}"
            rows.append(
                [
                    title,
                    microseconds(floor),
                    microseconds(measured.best),
                    microseconds(over),
                    times(measured.best / floor),
                ]
            )
            if folder == null and name == "aligned":
                text = "predict of the null model takes at most 4 µs more than bare C++ `infer()`"
                section.targets.append(Target(text, microseconds(over), over <= LONGEST_OVERHEAD))
    note = (
        "aligned: the tensor's bytes stand at a multiple of the element's size, so that large ones need no copy. That "
        "is why predict can take less than the baseline there, which always copies its input."
    )
    return Table("One call", note, ["model", "bare C++", "predict", "more", "ratio"], rows)


def _threads(root: Path, pace: Pace) -> Table:
    rows = []
    for folder in (slow.slow_steps(SLOW_STEPS, root), synthetic.null_model(root)):
        registry = _published(folder, THREADED_CONFIG, THREADED_NIREQ)
        call = _predict(registry, messages.predict_request(folder.name, np.ones((1, 10), np.float32)))
        samples = [{count: _rate(call, count, max(0.2, pace.seconds)) for count in THREADS} for _ in range(pace.rounds)]
        best = {count: max(sample[count] for sample in samples) for count in THREADS}
        rows.append(
            [
                folder.name,
                *(f"{best[count]:,.0f}/s" for count in THREADS),
                *(times(best[c] / best[1]) for c in THREADS[1:]),
            ]
        )
    note = (
        f"Calls per second from Python threads; {THREADED_NIREQ} infer requests, {THREADED_CONFIG['NUM_STREAMS']} "
        "streams of one thread each. Baseline: one Python thread. Where an inference takes about a millisecond, a "
        "second thread uses a second core, as nothing waits for the interpreter's lock. The null model is there for "
        "information: its calls last about as long as handing that lock over."
    )  # fmt: skip
    header = ["model", *(f"{count} threads" if count > 1 else "1 thread" for count in THREADS)]
    return Table("Threads", note, [*header, *(f"{count} to 1" for count in THREADS[1:])], rows)


def _published(folder: Path, config: dict[str, str], nireq: int) -> _native.Registry:
    registry = _native.Registry()
    registry.publish(_native.Core().load(folder.name, 1, str(_model_file(folder)), config=config, nireq=nireq))
    return registry


def _model_file(folder: Path) -> Path:
    return folder / "1" / f"{folder.name}.xml"


def _predict(registry: _native.Registry, request: bytes | memoryview) -> Callable[[], bytes]:
    return lambda: _native.predict(registry, request)


def _placed(request: bytes, array: np.ndarray, aligned: bool) -> memoryview:
    """The request somewhere in memory where its tensor is at a multiple of 64 bytes, or one byte behind it."""
    buffer = bytearray(len(request) + 128)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    tensor = address + request.index(array.tobytes())
    start = -tensor % 64 + (0 if aligned else 1)
    buffer[start : start + len(request)] = request
    return memoryview(buffer)[start : start + len(request)]


def _rate(call: Callable[[], bytes], threads: int, seconds: float) -> float:
    """Calls per second of so many threads together."""
    counts = [0] * threads
    start = threading.Barrier(threads + 1)
    stop = threading.Event()

    def work(number: int) -> None:
        count = 0
        start.wait()
        while not stop.is_set():
            call()
            count += 1
        counts[number] = count

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)
