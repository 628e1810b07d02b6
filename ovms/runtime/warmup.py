"""Inferences before a version is AVAILABLE: the first client does not pay for what a first run has to set up."""

import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from ovms._native import Model, Registry, TensorSpec, predict
from ovms.errors import Code, ServingError

RECORDED: Final = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where TensorFlow Serving keeps recorded requests of a version: a TFRecord file of PredictionLog messages."""

MOST_RECORDS: Final = 1000
MOST_BYTES: Final = 256 << 20

# For dimensions that requests choose and the model says nothing about.
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def warm_up(model: Model, times: int, version_folder: Path) -> int:
    """Run the model `times` times on each of its infer requests, with recorded requests if there are any.

    Without records, inputs are zeros (and empty strings) of the model's own shape, or of the smallest that it takes.
    Returns how many inferences that were. Raises ServingError FAILED_PRECONDITION with the cause if a run or the file
    of records fails.
    """
    registry = Registry()  # of our own: nobody else can find the model yet
    registry.publish(model)
    try:
        requests = _recorded_requests(model, version_folder) or [_generated_request(model, registry)]
        turns = [requests[number % len(requests)] for number in range(max(times, len(requests)))]
        _run_on_each(model, registry, turns)
    except ServingError as error:
        raise ServingError(Code.FAILED_PRECONDITION, f"warm-up failed: {error.message}") from None
    finally:
        registry.withdraw(model.name, model.version)
    return len(turns) * model.nireq


def _run_on_each(model: Model, registry: Registry, requests: Sequence[bytes]) -> None:
    """As many threads as infer requests, in step: so each of them has each request, and OpenVINO's streams theirs."""
    in_step = threading.Barrier(model.nireq)

    def run() -> None:
        try:
            for request in requests:
                in_step.wait()
                predict(registry, request)
        except BaseException:
            in_step.abort()
            raise

    model.take_turns(True)
    try:
        with ThreadPoolExecutor(model.nireq, thread_name_prefix="warm-up") as threads:
            results = [threads.submit(run) for _ in range(model.nireq)]
        for result in results:
            with suppress(threading.BrokenBarrierError):  # another one has the reason
                result.result()
    finally:
        model.take_turns(False)


def _spec(model: Model) -> bytes:
    return _field(1, _field(1, model.name.encode()) + _field(2, b"\x08" + _varint(model.version)))


def _recorded_requests(model: Model, version_folder: Path) -> list[bytes]:
    """What was recorded, none if there is no file. A file without a request is a mistake."""
    recorded = version_folder / RECORDED
    if not recorded.is_file():
        return []
    # A later field counts: whatever model and version were recorded, this one is asked.
    requests = [request + _spec(model) for request in _recorded(recorded)]
    if not requests:
        raise ServingError(Code.FAILED_PRECONDITION, f"{recorded}: holds no PredictRequest")
    return requests


def _generated_request(model: Model, registry: Registry) -> bytes:
    """A request of zeros that the model answers."""
    sizes = _SIZES if any(-1 in tensor.example for tensor in model.inputs) else _SIZES[:1]
    refusal = None
    for size in sizes:
        request = _spec(model) + b"".join(_zeros(tensor, size) for tensor in model.inputs)
        try:
            predict(registry, request)
        except ServingError as error:
            if error.code is not Code.INVALID_ARGUMENT:
                raise
            refusal = refusal or error
        else:
            return request
    assert refusal is not None
    if len(sizes) == 1:
        raise refusal
    raise ServingError(
        Code.FAILED_PRECONDITION,
        f"found no shape that the model takes, record a request in {RECORDED}; the first one tried: {refusal.message}",
    )


def _zeros(tensor: TensorSpec, size: int) -> bytes:
    """An entry of PredictRequest.inputs: a TensorProto without values, which means zeros."""
    sizes = [size if known < 0 else known for known in tensor.example]
    shape = b"".join(_field(2, b"\x08" + _varint(size)) for size in sizes)
    proto = b"\x08" + _varint(tensor.tf_dtype) + _field(2, shape)
    return _field(2, _field(1, tensor.name.encode()) + _field(2, proto))


def _recorded(path: Path) -> Iterator[bytes]:
    """The PredictRequests of a TFRecord file: length (8 bytes), its checksum (4), PredictionLog, its checksum (4)."""
    if path.stat().st_size > MOST_BYTES:
        raise ServingError(Code.FAILED_PRECONDITION, f"{path}: larger than {MOST_BYTES >> 20} MiB")
    data = path.read_bytes()
    at = 0
    for _ in range(MOST_RECORDS):
        if at == len(data):
            return
        if at + 12 > len(data):
            break
        (length,) = struct.unpack_from("<Q", data, at)
        if length > len(data) - at - 16:
            break
        log = data[at + 12 : at + 12 + length]
        at += length + 16
        # PredictionLog.predict_log is field 6, PredictLog.request field 1.
        yield from (request for predict_log in _fields(log, 6, path) for request in _fields(predict_log, 1, path))
    if at != len(data):
        raise ServingError(
            Code.FAILED_PRECONDITION, f"{path}: record at byte {at} is cut off, or there are over {MOST_RECORDS}"
        )


def _fields(message: bytes, wanted: int, path: Path) -> Iterator[bytes]:
    """The contents of all fields of that number; each must be of the wire type for messages."""
    at = 0
    try:
        while at < len(message):
            tag, at = _read_varint(message, at)
            kind = tag & 7
            if kind == 0:
                _, at = _read_varint(message, at)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            elif kind == 2:
                length, at = _read_varint(message, at)
                if length > len(message) - at:
                    raise ValueError
                if tag >> 3 == wanted:
                    yield message[at : at + length]
                at += length
            else:
                raise ValueError
        if at > len(message):
            raise ValueError
    except (ValueError, IndexError):
        raise ServingError(Code.FAILED_PRECONDITION, f"{path}: not a file of PredictionLog records") from None


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
