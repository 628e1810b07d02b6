"""JSON bodies <-> NumPy with the usual Python libraries, in the fastest ways that are known.

``PARSERS`` and ``PRINTERS`` have the libraries that are installed, by name; json is always there.
"""

import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

try:
    import orjson
except ImportError:
    orjson = None

try:
    import simdjson
except ImportError:
    simdjson = None

Array = NDArray[np.generic]

NATIVE_KINDS = {"f": ("d", np.float64), "i": ("i", np.int64)}
"""By NumPy's kind: what pysimdjson calls the array that it can fill by itself, and NumPy's dtype of it."""


def parse_json(body: bytes, key: str, dtype: str) -> Array:
    """json.loads, then an array of the lists."""
    return np.array(json.loads(body)[key], dtype)


def parse_orjson(body: bytes, key: str, dtype: str) -> Array:
    """orjson.loads, then an array of the lists."""
    return np.array(orjson.loads(body)[key], dtype)


def parse_simdjson(body: bytes, key: str, dtype: str) -> Array:
    """Numbers flat and unchecked for their nesting, which is the fastest that pysimdjson offers; strings as lists."""
    found = simdjson.Parser().parse(body)[key]
    kind = np.dtype(dtype).kind
    if kind not in NATIVE_KINDS:
        return np.array(found.as_list(), dtype)
    code, native = NATIVE_KINDS[kind]
    return np.frombuffer(found.as_buffer(of_type=code), native).astype(dtype, copy=False)


def print_json(array: Array) -> bytes:
    """json.dumps of the lists."""
    return json.dumps({"predictions": array.tolist()}).encode()


def print_orjson(array: Array) -> bytes:
    """orjson's own way with arrays; strings as lists, since it takes no arrays of them."""
    values = array if array.dtype.kind in NATIVE_KINDS else array.tolist()
    return orjson.dumps({"predictions": values}, option=orjson.OPT_SERIALIZE_NUMPY)


PARSERS: dict[str, Callable[[bytes, str, str], Array]] = {"json": parse_json}
PRINTERS: dict[str, Callable[[Array], bytes]] = {"json": print_json}
if orjson is not None:
    PARSERS["orjson"], PRINTERS["orjson"] = parse_orjson, print_orjson
if simdjson is not None:
    PARSERS["pysimdjson"] = parse_simdjson
