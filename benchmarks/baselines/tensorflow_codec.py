"""TensorFlow's own codec, timed in TensorFlow's own environment; benchmarks.codec runs this file as a program.

Each input line is ``<seconds> decode|encode <file with a TensorProto>``; the answer is seconds per call. decode is
FromString and make_ndarray; encode is make_tensor_proto and SerializeToString. Imports nothing of this project.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto


def task(what: str, path: str) -> Callable[[], object]:
    """What to call for a line of input."""
    message = Path(path).read_bytes()
    if what == "decode":
        return lambda: tf.make_ndarray(TensorProto.FromString(message))
    array = tf.make_ndarray(TensorProto.FromString(message))
    return lambda: tf.make_tensor_proto(array).SerializeToString()


def sample(call: Callable[[], object], seconds: float) -> float:
    """Seconds per call, from a loop of about so many seconds."""
    began = time.perf_counter()
    call()
    count = max(1, round(seconds / max(time.perf_counter() - began, 1e-7)))
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


tasks: dict[str, Callable[[], object]] = {}
for line in sys.stdin:
    budget, what, path = line.split(maxsplit=2)
    key = f"{what} {path}"
    if key not in tasks:
        tasks[key] = task(what, path.strip())
    print(sample(tasks[key], float(budget)), flush=True)
