"""JSON rows: bodies of the REST API <-> values, against json, orjson and pysimdjson with NumPy, and RapidJSON."""

import contextlib
import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import messages
from benchmarks.baselines.json_numpy import PARSERS, PRINTERS
from benchmarks.measure import Pace, Sampler, SamplingProcess, Timing, interleaved, local
from benchmarks.messages import Array
from benchmarks.native import rapidjson_codec
from benchmarks.report import Section, Table, Target, microseconds, times
from ovms._native import codec

TEXT = """
`ovms._native.codec`, called from Python: the body of a REST predict request read into values of the model's dtype,
which stay native, and a tensor printed as the body of an answer. Baselines, each timed in turn with ours in every
round:

* **json**, **orjson**: `loads(body)`, then `np.array(lists, dtype)`; for printing, `json.dumps` of `array.tolist()`,
  and orjson's `OPT_SERIALIZE_NUMPY`, which reads the array itself.
* **pysimdjson**: `as_buffer`, which fills a flat array of float64 or int64 and does not look at how lists are nested,
  then `astype`; for strings `as_list`. It does not print.
* **RapidJSON**: `native/rapidjson_codec.cpp`, compiled with -O3 as ovms is: events of its reader with default flags,
  which may be off by some last bits, into one `std::vector` of the dtype; `Writer::Double` with default settings, one
  output buffer that is kept. It checks no shape either.

ovms compares names and nesting, rounds every number correctly, and refuses what is no JSON by RFC 8259. The ratios say
how many times faster ovms is. What a printed float looks like differs: ovms and orjson print the fewest digits that a
float32 needs, json and RapidJSON those of a float64. All figures are those of the fastest round.
"""

IMAGE = "image, 150,528 float32"
RAPIDJSON = "RapidJSON"
PEERS = ("json", "orjson", "pysimdjson", RAPIDJSON)
ROW, COLUMN = "instances", "inputs"
DTYPES = {"float32": "f32", "int64": "i64"}


@dataclass(frozen=True)
class Case:
    """A tensor, and how a request spells it; strings are arrays of str."""

    title: str
    array: Array
    key: str
    spelling: str
    body: bytes

    @property
    def dtype(self) -> str:
        """OpenVINO's name of the dtype."""
        return DTYPES.get(self.array.dtype.name, "string")

    @property
    def values(self) -> Array | list[bytes]:
        """The elements in order, as ours takes them."""
        return [text.encode() for text in self.array.tolist()] if self.dtype == "string" else self.array.ravel()


def run(pace: Pace, quick: bool) -> Section:
    """Measure reading and printing; peers that are not installed are left out, and named."""
    section = Section("JSON", TEXT)
    with _rapidjson() as rapidjson:
        present = [peer for peer in PEERS if peer in PARSERS or (peer == RAPIDJSON and rapidjson)]
        absent = [peer for peer in PEERS if peer not in present]
        if absent:
            section.text += f"\nNot measured, as not installed: {', '.join(absent)}.\n"
        parsed = [(case, _parse(case, pace, rapidjson)) for case in _cases(quick)]
        printed = [(case, _print(case, pace, rapidjson)) for case in _cases(quick) if _is_plain(case)]
    section.tables += [_parse_table(parsed, present), _print_table(printed, present)]
    _targets(section, parsed, printed)
    return section


@contextlib.contextmanager
def _rapidjson() -> Iterator["_RapidJson | None"]:
    program = rapidjson_codec()
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, SamplingProcess([program]) as process:
        yield _RapidJson(process, Path(folder))


class _RapidJson:
    """RapidJSON in its own process, on the same bodies and values."""

    def __init__(self, process: SamplingProcess, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._files = 0

    def sampler(self, what: str, case: Case, content: bytes) -> Sampler:
        path = self._folder / str(self._files)
        self._files += 1
        path.write_bytes(content)
        shape = "x".join(map(str, case.array.shape))
        return self._process.sampler(f"{what} {case.dtype} {shape} {path}")


def _cases(quick: bool) -> Iterator[Case]:
    rng = np.random.default_rng(3)
    ten = rng.standard_normal((1, 10), dtype=np.float32)
    image = rng.standard_normal(messages.IMAGE_SHAPE, dtype=np.float32)
    for key in (ROW, COLUMN):
        yield _case("10 float32", ten, key, "shortest digits")
        yield _case(IMAGE, image, key, "shortest digits")
    yield _case(IMAGE, image, ROW, "17 digits")
    if not quick:
        yield _case("1,000,000 int64", rng.integers(-(1 << 40), 1 << 40, (1000, 1000)), ROW, "")
    letters = rng.integers(ord("a"), ord("z") + 1, (10_000, 20), dtype=np.uint32)
    yield _case("10,000 strings of 20 letters", letters.view("U20").ravel(), ROW, "")


def _case(title: str, array: Array, key: str, spelling: str) -> Case:
    """``shortest digits`` are a float32's, as JavaScript and ours print it; 17 those of a float64, as json does."""
    if array.dtype == np.float32 and spelling == "shortest digits":
        text = codec.print_json("f32", array.shape, array.ravel())
    else:
        text = json.dumps(array.tolist()).encode()
    return Case(title, array, key, spelling, b'{"' + key.encode() + b'": ' + text + b"}")


def _is_plain(case: Case) -> bool:
    """One of the cases for each tensor."""
    return case.key == ROW and case.spelling != "17 digits"


def _parse(case: Case, pace: Pace, rapidjson: _RapidJson | None) -> dict[str, Timing]:
    body, key = case.body, case.key
    dtype = "object" if case.dtype == "string" else case.array.dtype.name
    reader = codec.JsonPredictReader([("x", case.dtype, (-1, *case.array.shape[1:]))])
    _, [(shape, values)] = reader.read(body)
    assert shape == case.array.shape, case.title
    assert values == (case.values if case.dtype == "string" else case.array.tobytes()), case.title
    samplers = {"ovms": local(lambda: reader.parse(body))}
    for name, parse in PARSERS.items():
        assert np.array_equal(parse(body, key, dtype).ravel(), case.array.ravel()), (case.title, name)
        samplers[name] = local(functools.partial(parse, body, key, dtype))
    if rapidjson is not None:
        samplers[RAPIDJSON] = rapidjson.sampler("parse", case, body)
    return interleaved(samplers, pace)


def _print(case: Case, pace: Pace, rapidjson: _RapidJson | None) -> dict[str, Timing]:
    values, array = case.values, case.array
    outputs = [("y", case.dtype, array.shape, values)]
    dtype = None if case.dtype == "string" else array.dtype
    samplers = {"ovms": local(lambda: codec.print_json_response(outputs, row=True))}
    for name, text in {
        "ovms": codec.print_json_response(outputs, row=True),
        **{name: render(array) for name, render in PRINTERS.items()},
    }.items():
        assert np.array_equal(np.array(json.loads(text)["predictions"], dtype), array), (case.title, name)
    samplers |= {name: local(functools.partial(render, array)) for name, render in PRINTERS.items()}
    if rapidjson is not None:
        raw = "".join(f"{text}\n" for text in array.tolist()).encode() if case.dtype == "string" else array.tobytes()
        samplers[RAPIDJSON] = rapidjson.sampler("print", case, raw)
    return interleaved(samplers, pace)


Measured = list[tuple[Case, dict[str, Timing]]]


def _parse_table(measured: Measured, peers: list[str]) -> Table:
    rows = [
        [
            *(case.title, case.spelling or "n/a", f"`{case.key}`", f"{len(case.body):,} B"),
            *(microseconds(timings["ovms"].best), f"{len(case.body) / timings['ovms'].best / 1e6:,.0f} MB/s"),
            *(_faster(timings, peer) for peer in peers),
        ]
        for case, timings in measured
    ]
    note = "`instances` is the row form, `inputs` the column form."
    header = ["values", "spelled with", "form", "body", "ovms", "rate", *(f"{peer}, faster" for peer in peers)]
    return Table("Reading", note, header, rows)


def _print_table(measured: Measured, peers: list[str]) -> Table:
    printing = [peer for peer in peers if peer in PRINTERS or peer == RAPIDJSON]
    rows = []
    for case, timings in measured:
        size = len(codec.print_json_response([("y", case.dtype, case.array.shape, case.values)], row=True))
        seconds = timings["ovms"].best
        cells = [case.title, f"{size:,} B", microseconds(seconds), f"{size / seconds / 1e6:,.0f} MB/s"]
        rows.append([*cells, *(_faster(timings, peer) for peer in printing)])
    note = 'All print `{"predictions": ...}`; the size is that of the answer by ovms.'
    return Table("Printing", note, ["values", "answer", "ovms", "rate", *(f"{p}, faster" for p in printing)], rows)


def _faster(timings: dict[str, Timing], peer: str) -> str:
    return times(_ratio(timings, peer))


def _ratio(timings: dict[str, Timing], peer: str) -> float:
    return timings[peer].best / timings["ovms"].best


def _targets(section: Section, parsed: Measured, printed: Measured) -> None:
    wanted = (
        ("read", parsed, "orjson", "orjson + NumPy", 3),
        ("read", parsed, RAPIDJSON, RAPIDJSON, 2),
        ("print", printed, "orjson", "orjson's way with arrays", 1),
        ("print", printed, RAPIDJSON, f"{RAPIDJSON}'s writer", 2),
    )
    for what, measured, peer, label, least in wanted:
        ratios = sorted(_ratio(timings, peer) for case, timings in measured if case.title == IMAGE and peer in timings)
        if not ratios:
            continue
        text = f"{what} an image of 150,528 float32 as JSON {least} times as fast as {label}"
        figures = times(ratios[0]) + (f" to {times(ratios[-1])}" if len(ratios) > 1 else "")
        section.targets.append(Target(text, figures, ratios[0] >= least))
