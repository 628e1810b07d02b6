"""Codec rows: TensorProto bytes <-> values, against google.protobuf + NumPy, TensorFlow, and memcpy."""

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import messages
from benchmarks.baselines import google_protobuf, tensorflow_codec_path
from benchmarks.measure import Pace, Sampler, SamplingProcess, Timing, interleaved, local
from benchmarks.messages import CONTENT, PACKED, UNPACKED, Array, Sample
from benchmarks.report import Section, Table, Target, microseconds, times
from ovms._native import codec

TEXT = """
`ovms._native.codec`, called from Python. Baselines, each timed in turn with ours in every round:

* **protobuf**: google.protobuf (upb) `FromString`, then `np.frombuffer` for `tensor_content` or `np.array(field)` for
  a list; for encoding: building the message (`tobytes`, or `extend` for a list) and `SerializeToString`.
  `np.array(field)` is one copy with the `__array__` that recent protobuf releases have.
* **by value**: the same with `np.fromiter(field)`, as TensorFlow's `make_ndarray` does and as one has to with older
  releases of protobuf.
* **TensorFlow**: `FromString` + `make_ndarray`; `make_tensor_proto` + `SerializeToString`; in its own process.
* **memcpy, warm**: `np.copyto` of the values' bytes into memory that is in use already.
* **memcpy, fresh**: the same into a new object: `array.copy()` for decoding, `bytes(memoryview)` for encoding. This is
  the like-for-like bound, as both answers are new objects.

A ratio to protobuf, by value and TensorFlow says how many times faster ovms is; a ratio to memcpy, how many times
longer ovms takes. All figures are those of the fastest round.
"""

FLOAT_SIZES = {"40 B": (10,), "4 kB": (1000,), "602 kB": messages.IMAGE_SHAPE, "12 MB": (20, 3, 224, 224)}
MIDDLE = "602 kB"


def run(pace: Pace, quick: bool, tensorflow: Path | None) -> Section:
    """Measure the codec; rows of TensorFlow only if there is a Python that has it."""
    section = Section("Codec", TEXT)
    with _tensorflow(tensorflow) as other:
        decoded = [(case, _decode(case, pace, other)) for case in _decode_cases(quick)]
        encoded = [(case, _encode(case, pace, other)) for case in _encode_cases(quick)]
    section.tables += [_decode_table(decoded), _encode_table(encoded)]
    _parse(section, pace)
    _targets(section, decoded, encoded)
    return section


@contextlib.contextmanager
def _tensorflow(python: Path | None) -> Iterator["_TensorFlow | None"]:
    if python is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        SamplingProcess([python, tensorflow_codec_path()]) as process,
    ):
        yield _TensorFlow(process, Path(folder))


class _TensorFlow:
    """TensorFlow's codec in its own process, on the same messages."""

    def __init__(self, process: SamplingProcess, folder: Path) -> None:
        self._process = process
        self._folder = folder

    def sampler(self, what: str, sample: Sample) -> Sampler:
        path = self._folder / f"{sample.title}-{sample.form}.pb".replace(" ", "_").replace(",", "")
        path.write_bytes(sample.message)
        return self._process.sampler(f"{what} {path}")


def _floats(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def _integers() -> dict[str, Array]:
    """Lists of varints, each of the 150,528 elements of the image."""
    rng = np.random.default_rng(2)
    shape = messages.IMAGE_SHAPE
    return {
        "int_val, uint8 image": rng.integers(0, 256, shape, dtype=np.uint8),
        "int_val, int32 up to 2^31": rng.integers(0, 1 << 31, shape, dtype=np.int32),
        "int_val, int32 of both signs": rng.integers(-1000, 1000, shape, dtype=np.int32),
        "int64_val, token ids up to 32,000": rng.integers(0, 32_000, shape, dtype=np.int64),
        "half_val": rng.standard_normal(shape).astype(np.float16),
    }


def _decode_cases(quick: bool) -> list[Sample]:
    sizes = {name: shape for name, shape in FLOAT_SIZES.items() if not quick or name in ("40 B", MIDDLE)}
    cases = [
        messages.sample(name, _floats(shape), form)
        for form in (CONTENT, PACKED, UNPACKED)
        for name, shape in sizes.items()
    ]
    return cases + [
        messages.sample(name, array, form) for form in (PACKED, UNPACKED) for name, array in _integers().items()
    ]


def _encode_cases(quick: bool) -> list[Sample]:
    sizes = {name: shape for name, shape in FLOAT_SIZES.items() if not quick or name in ("40 B", MIDDLE)}
    cases = [messages.sample(name, _floats(shape), form) for form in (CONTENT, PACKED) for name, shape in sizes.items()]
    return [*cases, messages.sample("half_val", _integers()["half_val"], PACKED)]


def _decode(case: Sample, pace: Pace, tensorflow: _TensorFlow | None) -> dict[str, Timing]:
    message, dtype, field = case.message, case.dtype, case.field
    warm = np.empty_like(case.array)
    _, _, values = codec.decode_tensor(message)
    assert values == case.array.tobytes(), case.title
    samplers = {"ovms": local(lambda: codec.decode_tensor(message))}
    if case.form == CONTENT:
        samplers["protobuf"] = local(lambda: google_protobuf.decode_content(message, dtype))
    else:
        raw = "uint16" if dtype == "float16" else dtype
        samplers["protobuf"] = local(lambda: google_protobuf.decode_list(message, field, raw))
        samplers["by value"] = local(lambda: google_protobuf.decode_list_by_value(message, field, raw))
    if tensorflow is not None:
        samplers["TensorFlow"] = tensorflow.sampler("decode", case)
    samplers["warm"] = local(lambda: np.copyto(warm, case.array))
    samplers["fresh"] = local(case.array.copy)
    return interleaved(samplers, pace)


def _encode(case: Sample, pace: Pace, tensorflow: _TensorFlow | None) -> dict[str, Timing]:
    array, dtype = case.array, messages.OPENVINO_DTYPES[case.dtype]
    warm, view = np.empty_like(array), array.reshape(-1).view(np.uint8).data
    number, shape, listed = messages.TF_DTYPES[case.dtype], array.shape, case.form == PACKED
    assert codec.encode_tensor(dtype, shape, array, typed_lists=listed) == case.message, case.title
    samplers = {"ovms": local(lambda: codec.encode_tensor(dtype, shape, array, typed_lists=listed))}
    if listed:
        values = array.view(np.uint16).ravel() if case.dtype == "float16" else array.ravel()
        samplers["protobuf"] = local(lambda: google_protobuf.encode_list(number, case.field, values, array))
    else:
        samplers["protobuf"] = local(lambda: google_protobuf.encode_content(number, array))
    if tensorflow is not None and not listed:
        samplers["TensorFlow"] = tensorflow.sampler("encode", case)
    samplers["warm"] = local(lambda: np.copyto(warm, array))
    samplers["fresh"] = local(lambda: bytes(view))
    return interleaved(samplers, pace)


Measured = list[tuple[Sample, dict[str, Timing]]]


def _decode_table(measured: Measured) -> Table:
    header = ["form", "values", "ovms", "protobuf", "faster", "by value, faster", "TensorFlow, faster"]
    rows = []
    for case, timings in measured:
        cells = [case.form, case.title, microseconds(timings["ovms"].best), microseconds(timings["protobuf"].best)]
        cells += [_faster(timings, name) for name in ("protobuf", "by value", "TensorFlow")]
        rows.append([*cells, _slower(timings, "warm"), _slower(timings, "fresh")])
    note = "Sizes are those of the decoded values; the lists of integers and half floats have 150,528 values each."
    return Table("Decode", note, [*header, "memcpy warm", "memcpy fresh"], rows)


def _encode_table(measured: Measured) -> Table:
    header = ["form", "values", "ovms", "protobuf", "faster", "TensorFlow, faster", "memcpy warm", "memcpy fresh"]
    rows = []
    for case, timings in measured:
        cells = [case.form, case.title, microseconds(timings["ovms"].best), microseconds(timings["protobuf"].best)]
        cells += [_faster(timings, name) for name in ("protobuf", "TensorFlow")]
        rows.append([*cells, _slower(timings, "warm"), _slower(timings, "fresh")])
    note = "TensorFlow's make_tensor_proto writes `tensor_content` for these dtypes, so it has no figure for lists."
    return Table("Encode", note, header, rows)


def _faster(timings: dict[str, Timing], name: str) -> str:
    if name in timings:
        return times(timings[name].best / timings["ovms"].best)
    return "not measured" if name == "TensorFlow" else "n/a"


def _slower(timings: dict[str, Timing], name: str) -> str:
    return times(timings["ovms"].best / timings[name].best)


def _parse(section: Section, pace: Pace) -> None:
    """The parse step alone, as the predict path does it: structure only, whatever the size."""
    requests = {name: messages.predict_request("model", _floats(FLOAT_SIZES[name])) for name in ("40 B", MIDDLE)}
    tensors = {name: messages.sample(name, _floats(FLOAT_SIZES[name]), CONTENT).message for name in requests}
    samplers = {
        f"request {name}": local(functools.partial(codec.check_predict_request, m)) for name, m in requests.items()
    }
    samplers |= {f"tensor {name}": local(functools.partial(codec.view_tensor, m)) for name, m in tensors.items()}
    timings = interleaved(samplers, pace)
    rows = []
    for what, call in (("request", "check_predict_request"), ("tensor", "view_tensor")):
        small, large = timings[f"{what} 40 B"].best, timings[f"{what} {MIDDLE}"].best
        rows.append([f"`{call}`", microseconds(small), microseconds(large), microseconds(large - small)])
        text = f"`{call}` of a 602 kB `tensor_content` costs what one of 40 B costs, within 1 µs"
        section.targets.append(Target(text, microseconds(large - small), large - small < 1e-6))
    note = "Structure only, no byte of the values: the first step of every predict call. Baseline: the same at 40 B."
    section.tables.append(Table("Parse", note, ["call", "40 B", "602 kB", "difference"], rows))


def _targets(section: Section, decoded: Measured, encoded: Measured) -> None:
    for case, timings in encoded:
        if (case.title, case.form) == (MIDDLE, CONTENT):
            ratio = timings["ovms"].best / timings["fresh"].best
            text = "encode 602 kB in at most 1.2 times a memcpy into a new bytes object"
            section.targets.append(Target(text, f"{times(ratio)} ({_slower(timings, 'warm')} of warm)", ratio <= 1.2))
    for case, timings in decoded:
        if (case.title, case.form) == (MIDDLE, PACKED):
            ratio = timings["ovms"].best / timings["fresh"].best
            text = "decode 150,528 packed `float_val` in at most 1.5 times a memcpy into a new array"
            section.targets.append(Target(text, f"{times(ratio)} ({_slower(timings, 'warm')} of warm)", ratio <= 1.5))
    _list_targets(section, decoded)


def _list_targets(section: Section, decoded: Measured) -> None:
    baselines = {"by value": "protobuf + `np.fromiter`", "protobuf": "protobuf + `__array__`"}
    groups = {
        "unpacked `float_val`": [t for c, t in decoded if (c.title, c.form) == (MIDDLE, UNPACKED)],
        "packed lists of varints": [t for c, t in decoded if c.dtype != "float32" and c.form == PACKED],
        "unpacked lists of varints": [t for c, t in decoded if c.dtype != "float32" and c.form == UNPACKED],
    }
    for name, group in groups.items():
        for baseline, label in baselines.items():
            ratios = sorted(timings[baseline].best / timings["ovms"].best for timings in group)
            measured = times(ratios[0]) + (f" to {times(ratios[-1])}" if len(ratios) > 1 else "")
            text = f"decode {name}, 150,528 values, 10 times as fast as {label}"
            section.targets.append(Target(text, measured, ratios[0] >= 10))
