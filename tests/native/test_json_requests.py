"""Bodies of predict requests: their two forms, named or not, any shape, and what JSON leaves to the writer."""

import base64
import itertools
import json
import random
from typing import Any

import numpy as np
import pytest

from ovms._native import codec
from tests.native.json_bodies import DTYPES, SIGNATURES, STRINGS, as_array, bodies, dump, encoded, numbers, of_one
from tests.native.json_codec import read, read_array, refusal
from tests.native.reference import NUMERIC, NUMPY

TWO = [("a", "f32", (-1, 4)), ("b", "i64", (-1,))]


@pytest.mark.parametrize("dtype", NUMERIC)
def test_every_form_of_one_input(dtype: str) -> None:
    values = as_array(dtype, numbers(dtype))
    forms = [body for body in of_one(dtype, numbers(dtype)) if body != dump({"inputs": [[], []]})]
    assert len(forms) == 8
    for body in forms:
        row, ((shape, found),) = codec.JsonPredictReader([("x", dtype, (-1, 2))]).read(body)
        assert row is (b"instances" in body)
        assert (shape, np.frombuffer(found, values.dtype).view(np.uint8).tolist()) == (
            values.shape,
            values.reshape(-1).view(np.uint8).tolist(),
        )


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_strings(key: str) -> None:
    signature = [("x", "string", (-1,))]
    octets = [bytes(range(256)), b"", b"\xff", *(text.encode() for text in STRINGS), b"x" * 100_000]
    for values in (
        octets,
        [octets[at] for at in (4, 0, 4, 1)],
        octets * 100,
        [b"a"],
    ):
        given = [encoded(one) if rng % 2 or not is_text(one) else one.decode() for rng, one in enumerate(values)]
        assert read(signature, dump({key: given})) == [((len(values),), values)]
        plain = [{"x": one} for one in given]
        assert read(signature, dump({"instances": plain})) == [((len(values),), values)]


def is_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_base64() -> None:
    """All lengths, with the padding and without it; a stray bit, another alphabet or a space is refused."""
    signature = [("x", "string", ())]
    for size in range(50):
        octets = bytes((size * 37 + 11 * n) % 256 for n in range(size))
        text = base64.b64encode(octets).decode()
        for spelled in (text, text.rstrip("=")):
            assert read(signature, dump({"inputs": {"b64": spelled}})) == [((), [octets])]
    assert read(signature, rb'{"inputs":{"\u0062\u00364":"\u0041QI\/"}}') == [((), [b"\1\2?"])]
    wrong = ("A", "AAAAA", "AAA=A", "AA=", "A===", "====", "=", "AB==", "AAB=", "-_-_", "AA AA", "AAAA\n", "AA\u00e9A")
    for text in wrong:
        told = refusal(signature, dump({"inputs": {"b64": text}}))
        assert told == 'inputs: "b64" holds no base64 of the standard alphabet', text


def test_several_inputs() -> None:
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.array([7, -(2**63)])
    column = {"a": a.tolist(), "b": b.tolist()}
    rows = [{"a": a[0].tolist(), "b": 7}, {"b": -(2**63), "a": a[1].tolist()}]
    for body, row in (
        (dump({"inputs": column}), False),
        (dump({"inputs": dict(reversed(column.items()))}), False),
        (dump({"instances": rows}), True),
        (dump({"inputs": {"a": encoded(a.tobytes()), "b": encoded(b.tobytes())}}), False),
        (dump({"instances": [{"a": encoded(a[0].tobytes()), "b": 7}, rows[1]]}), True),
    ):
        form, ((a_shape, a_found), (b_shape, b_found)) = codec.JsonPredictReader(TWO).read(body)
        assert (form, a_shape, b_shape) == (row, (2, 4), (2,))
        assert (bytes(a_found), bytes(b_found)) == (a.tobytes(), b.tobytes())


def test_an_input_called_b64() -> None:
    """Its name is a name: {"b64": ...} names it."""
    assert read_named("b64", b'{"inputs":{"b64":[1,2]}}') == [1, 2]
    assert read_named("b64", b'{"instances":[{"b64":1},{"b64":2}]}') == [1, 2]
    assert read_named("b64", dump({"inputs": {"b64": encoded(np.float32([1, 2]).tobytes())}})) == [1, 2]


def read_named(name: str, body: bytes) -> Any:
    ((_, found),) = read([(name, "f32", (-1,))], body)
    return np.frombuffer(found, np.float32).tolist()


@pytest.mark.parametrize("name", ["instances", "inputs", "signature_name", "\u00e9", 'a"b\\c', "", "a.b[0]", "n" * 300])
def test_names(name: str) -> None:
    """Any text names an input, escaped or not; words of the body's own mean nothing within it."""
    for ascii_only in (True, False):
        body = json.dumps({"inputs": {name: [1, 2]}}, ensure_ascii=ascii_only).encode()
        assert read_named(name, body) == [1, 2]
        body = json.dumps({"instances": [{name: 1}, {name: 2}]}, ensure_ascii=ascii_only).encode()
        assert read_named(name, body) == [1, 2]


def test_escaped_keys() -> None:
    assert read_array("f32", (-1,), rb'{"\u0069nstances":[1]}').tolist() == [1]
    assert read_array("f32", (-1,), rb'{"i\u006Eputs":{"\u0078":[1]}}').tolist() == [1]
    assert refusal([("x", "f32", (-1,))], rb'{"inputs":[1],"\u0069nputs":[1]}') == '"inputs" is there twice'


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ranks(dtype: str, key: str) -> None:
    """Up to sixteen dimensions, of sizes in every order."""
    for rank in range(key == "instances", 17):
        for sizes in ((1,) * rank, (2,) * min(rank, 3) + (1,) * (rank - 3), (1,) * (rank - 2) + (3, 2)[: max(rank, 0)]):
            shape = sizes[:rank]
            count = int(np.prod(shape, dtype=int))
            flat = np.arange(count) % 2
            nested = np.array([str(one) for one in flat], object) if dtype == "string" else flat
            body = dump({key: nested.reshape(shape).tolist()})
            ((found, values),) = read([("x", dtype, (-1,) * rank)], body)
            assert found == shape
            expected = [str(one).encode() for one in flat] if dtype == "string" else as_array(dtype, flat).tobytes()
            assert values == expected
    value = b'"1"' if dtype == "string" else b"1"
    for rank in (17, 18, 100, 100_000):
        body = b'{"%s":' % key.encode() + b"[" * rank + value + b"]" * rank + b"}"
        place = key + "[0]" * 16
        assert refusal([("x", dtype, (-1,))], body) == f"{place}: expected at most 16 dimensions"


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_of_zero(dtype: str) -> None:
    for text, shape in {
        b"[]": (0,),
        b"[[]]": (1, 0),
        b"[[],[]]": (2, 0),
        b"[[[]],[[]]]": (2, 1, 0),
        b"[[[],[]],[[],[]]]": (2, 2, 0),
        b"[" * 16 + b"]" * 16: (1,) * 15 + (0,),
    }.items():
        for spaced in (text, text.replace(b"[", b" [ "), text.replace(b"]", b"\n]")):
            ((found, values),) = read([("x", dtype, (-1,))], b'{"inputs":' + spaced + b"}")
            assert (found, len(values)) == (shape, 0)
    row, ((found, values),) = codec.JsonPredictReader([("x", dtype, (-1, 0))]).read(b'{"instances":[[],[]]}')
    assert (row, found, len(values)) == (True, (2, 0), 0)
    ((found, values),) = read([("x", dtype, (-1, 0))], b'{"instances":[{"x":[]},{"x":[]},{"x":[]}]}')
    assert (found, len(values)) == (((3, 0)), 0)


RAGGED = {
    "[[1,2],[1]]": "[1]: expected 2 elements as in those before, got 1",
    "[[1],[1,2]]": "[1]: expected 1 elements as in those before, got 2",
    "[[1],[]]": "[1]: expected 1 elements as in those before, got 0",
    "[[],[1]]": "[1]: expected 0 elements as in those before, got 1",
    "[[[1],[2]],[[1]]]": "[1]: expected 2 elements as in those before, got 1",
    "[[[1],[2]],[[1],[2,3]]]": "[1][1]: expected 1 elements as in those before, got 2",
    "[1,[2]]": "[1]: expected number, got array",
    "[[1],2]": "[1]: expected array, got number",
    "[[],2]": "[1]: expected array, got number",
    "[[[]],[2]]": "[1][0]: expected array, got number",
    "[[[1]],[2]]": "[1][0]: expected array, got number",
    "[[[1]],[[[2]]]]": "[1][0][0]: expected number, got array",
    "[[[1,2],[3,4]],[[5,6],[7,8,9]]]": "[1][1]: expected 2 elements as in those before, got 3",
}


@pytest.mark.parametrize(("text", "told"), RAGGED.items(), ids=RAGGED)
def test_ragged(text: str, told: str) -> None:
    for key in ("inputs", "instances"):
        assert refusal([("x", "f32", (-1,))], f'{{"{key}":{text}}}'.encode()) == key + told
    assert refusal([("x", "f32", (-1,))], f'{{"inputs":{{"x":{text}}}}}'.encode()) == "inputs.x" + told


def test_instances_of_several_shapes() -> None:
    signature = [("x", "f32", (-1, -1))]
    for values, told in {
        "[1,2],[1]": "instances[1].x: expected 2 elements as in those before, got 1",
        "[1,2],3": "instances[1].x: expected array, got number",
        "1,[2]": "instances[1].x: expected number, got array",
        "[[1],[2]],[[1],[2,3]]": "instances[1].x[1]: expected 1 elements as in those before, got 2",
    }.items():
        pairs = json.loads(f"[{values}]")
        assert refusal(signature, dump({"instances": [{"x": one} for one in pairs]})) == told


@pytest.mark.parametrize("dtype", NUMERIC)
def test_content_has_the_models_shape(dtype: str) -> None:
    size = NUMPY[dtype].itemsize
    octets = bytes(n % 2 for n in range(24 * size))
    for shape, found in {
        (24,): (24,),
        (-1,): (24,),
        (2, 3, 4): (2, 3, 4),
        (-1, 3, 4): (2, 3, 4),
        (2, -1, 4): (2, 3, 4),
        (2, 3, -1): (2, 3, 4),
        (1,) * 15 + (24,): (1,) * 15 + (24,),
    }.items():
        assert read([("x", dtype, shape)], dump({"inputs": encoded(octets)})) == [(found, octets)]
    assert read([("x", dtype, ())], dump({"inputs": encoded(octets[:size])})) == [((), octets[:size])]
    for shape, given, told in (
        ((24,), octets[:-1], f'"b64" holds {24 * size - 1} bytes, expected {24 * size}'),
        ((-1, 5), octets, f'"b64" holds {24 * size} bytes, expected a multiple of {5 * size}'),
        ((-1, -1), octets, '"b64" does not tell the shape, and the model\'s has more than one unknown size'),
        ((), octets, f'"b64" holds {24 * size} bytes, expected {size}'),
    ):
        assert refusal([("x", dtype, shape)], dump({"inputs": encoded(given)})) == f"inputs: {told}"
    if dtype == "boolean":
        told = refusal([("x", dtype, (-1,))], dump({"inputs": encoded(b"\0\1\2")}))
        assert told == 'inputs: "b64" holds a bool that is neither 0 nor 1'


def test_white_space() -> None:
    """Between any two tokens, in any amount; no other character is space."""
    text = '{ "inputs" : { "a" : [ [ 1 , 2 , 3 , 4 ] ] , "b" : [ 5 ] } , "other" : [ { "k" : null } , true ] }'
    tokens = text.split()
    plain = read(TWO, "".join(tokens).encode())
    for space in (" ", "\n", "\t", "\r", "\r\n \t", " " * 100):
        assert read(TWO, (space + space.join(tokens) + space).encode()) == plain
        for at in range(len(tokens) + 1):
            assert read(TWO, "".join([*tokens[:at], space, *tokens[at:]]).encode()) == plain
    for other in ("\v", "\f", "\u00a0", "\ufeff", "\u2028", "\x1f", "/**/", "//\n", "#\n"):
        for at in range(1, len(tokens) + 1):
            assert refusal(TWO, "".join([*tokens[:at], other, *tokens[at:]]).encode()).startswith("@")


def test_order_of_keys() -> None:
    members = ('"signature_name":"any"', '"other":{"inputs":[7]}', '"inputs":{"b":[5],"a":[[1,2,3,4]]}', '"other":0')
    found = {str(read(TWO, f"{{{','.join(order)}}}".encode())) for order in itertools.permutations(members)}
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", "serving_default", "predict", "\u00e9", "x" * 10_000, "\0"])
def test_any_signature_name(text: str) -> None:
    assert read_array("f32", (-1,), dump({"signature_name": text, "inputs": [1]})).tolist() == [1]


def test_a_reader_is_used_again(rng: random.Random) -> None:
    """Whatever a body was, the next one is read as if it were the first."""
    given = list(bodies())
    readers = [codec.JsonPredictReader(signature) for signature in SIGNATURES]
    fresh = {at: codec.JsonPredictReader(SIGNATURES[index]).read(body) for at, (index, body) in enumerate(given)}
    for _ in range(3000):
        at = rng.randrange(len(given))
        index, body = given[at]
        if rng.random() < 0.3:
            refusal(SIGNATURES[index], body[: rng.randrange(len(body) // 2)])
            with pytest.raises(Exception, match="Invalid"):
                readers[index].read(body[: rng.randrange(len(body) // 2)])
        assert str(readers[index].read(body)) == str(fresh[at])


def test_large() -> None:
    """Tensors that outgrow every first guess of their size, and strings that do."""
    values = np.arange(1_000_000, dtype=np.float32)
    body = dump({"inputs": values.tolist()})
    for shape in ((-1,), (1_000_000,), (3,)):
        np.testing.assert_array_equal(read_array("f32", shape, body), values)
    rows = dump({"instances": [{"a": [n] * 4, "b": n} for n in range(20_000)]})
    (_, a), (_, b) = read(TWO, rows)
    assert np.frombuffer(b, np.int64).tolist() == list(range(20_000))
    assert np.frombuffer(a, np.float32).tolist() == [n for n in range(20_000) for _ in range(4)]
    texts = [str(n) * (n % 7) for n in range(50_000)]
    assert read([("x", "string", (-1,))], dump({"inputs": texts})) == [((50_000,), [text.encode() for text in texts])]
