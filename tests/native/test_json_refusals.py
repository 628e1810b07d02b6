"""What the refusals say: the place in the text, or the place in the inputs, what was expected, and what was there."""

import json

import pytest

from ovms._native import codec
from ovms.errors import ServingError
from tests.native.json_bodies import Signature
from tests.native.json_codec import LONGEST_MESSAGE, refusal

ONE = [("image", "f32", (-1, 2))]
FLAGS = [("x", "boolean", (-1,))]
BYTES = [("x", "u8", (-1,))]
STRINGS = [("x", "string", (-1,))]
TWO = [("a", "f32", (-1, 4)), ("b", "i64", (-1,))]
SET_ONE = "Inputs expected to be in the set {['image']}"
SET_TWO = "Inputs expected to be in the set {['a', 'b']}"
NO_BASE64 = '"b64" holds no base64 of the standard alphabet'

TOO_DEEP = "expected at most 16 dimensions"


def nested(before: str, depth: int) -> str:
    """A text that ends after so many opening brackets: what is behind them is not looked at."""
    return before + "[" * depth


GRAMMAR = [
    ("", "0: expected an object, got the end of the text"),
    ("  ", "2: expected an object, got the end of the text"),
    ("[1]", "0: expected an object, got '['"),
    ('"text"', "0: expected an object, got '\"'"),
    ("\x7f", "0: expected an object, got byte 0x7f"),
    ("\u00e9", "0: expected an object, got byte 0xc3"),
    ("{", "1: expected '\"', got the end of the text"),
    ("{,}", "1: expected '\"', got ','"),
    ("{inputs:[1]}", "1: expected '\"', got 'i'"),
    ("{'inputs':[1]}", "1: expected '\"', got '''"),
    ('{"inputs"', "9: expected ':', got the end of the text"),
    ('{"inputs" [1]}', "10: expected ':', got '['"),
    ('{"inputs":', "10: expected a value, got the end of the text"),
    ('{"inputs":}', "10: expected a value, got '}'"),
    ('{"inputs":[', "11: expected a value, got the end of the text"),
    ('{"inputs":[,1]}', "11: expected a value, got ','"),
    ('{"inputs":[1,]}', "13: expected a value, got ']'"),
    ('{"inputs":[[1,2],]}', "17: expected a value, got ']'"),
    ('{"inputs":[1 2]}', "13: expected ',' or ']', got '2'"),
    ('{"inputs":[1}', "12: expected ',' or ']', got '}'"),
    ('{"inputs":[[1] [2]]}', "15: expected ',' or ']', got '['"),
    ('{"inputs":[[1,2]}', "16: expected ',' or ']', got '}'"),
    ('{"inputs":[1.]}', "11: expected a number, got '1'"),
    ('{"inputs":[01]}', "11: expected a number, got '0'"),
    ('{"inputs":[-]}', "11: expected a number, got '-'"),
    ('{"inputs":[.5]}', "11: expected a value, got '.'"),
    ('{"inputs":[+5]}', "11: expected a value, got '+'"),
    ('{"inputs":[1e]}', "11: expected a number, got '1'"),
    ('{"inputs":[[1,2]]', "17: expected ',' or '}', got the end of the text"),
    ('{"inputs":[[1,2]],}', "18: expected '\"', got '}'"),
    ('{"inputs":[[1,2]]} x', "19: expected the end of the text, got 'x'"),
    ('{"inputs":[[1,2]]}{}', "18: expected the end of the text, got '{'"),
    ('{"other":tru,"inputs":[1]}', "12: expected true, got ','"),
    ('{"other":"a\nb"}', "11: expected no control character in a string, got byte 0x0a"),
    ('{"other":"a', "11: expected '\"', got the end of the text"),
    (r'{"other":"\x41"}', "11: expected an escape sequence, got 'x'"),
    (r'{"other":"\u12G4"}', "14: expected a hexadecimal digit, got 'G'"),
    (r'{"other":"\udc00"}', "16: expected a high surrogate before this low one, got '\"'"),
    (r'{"other":"\ud800"}', "16: expected a low surrogate, got '\"'"),
    (r'{"other":"\ud800\u0041"}', "22: expected a low surrogate before this, got '\"'"),
    ('{"instances":[{"image":[1,2]} {"image":[1,2]}]}', "30: expected ',' or ']', got '{'"),
    ('{"instances":[{"image":[1,2] "b":1}]}', "29: expected ',' or '}', got '\"'"),
]

INPUTS: list[tuple[Signature, str, str]] = [
    (ONE, "{}", 'expected "instances" or "inputs"'),
    (ONE, '{"other":[1,2]}', 'expected "instances" or "inputs"'),
    (ONE, '{"instances":[[1,2]],"inputs":[[1,2]]}', 'expected "instances" or "inputs", got both'),
    (ONE, '{"inputs":[[1,2]],"inputs":[[1,2]]}', '"inputs" is there twice'),
    (ONE, '{"instances":[[1,2]],"instances":[[1,2]]}', '"instances" is there twice'),
    (ONE, '{"signature_name":"a","signature_name":"a"}', '"signature_name" is there twice'),
    (ONE, '{"signature_name":null,"inputs":[1]}', "signature_name: expected string, got null"),
    (ONE, '{"signature_name":["a"],"inputs":[1]}', "signature_name: expected string, got array"),
    (ONE, '{"instances":5}', "instances: expected array, got number"),
    (ONE, '{"instances":{"image":[[1,2]]}}', "instances: expected array, got object"),
    (ONE, '{"instances":null}', "instances: expected array, got null"),
    (ONE, '{"instances":[]}', "instances: expected at least one, got an empty array"),
    (ONE, '{"inputs":"a"}', "inputs: expected number, got string"),
    (ONE, '{"inputs":null}', "inputs: expected number, got null"),
    (ONE, '{"inputs":[[1,"a"]]}', "inputs[0][1]: expected number, got string"),
    (ONE, '{"inputs":[[1,2],[3,null]]}', "inputs[1][1]: expected number, got null"),
    (ONE, '{"inputs":[[1,2],[3,true]]}', "inputs[1][1]: expected number, got boolean"),
    (ONE, '{"inputs":[[1,2],[3,{}]]}', "inputs[1][1]: expected number, got object"),
    (ONE, '{"inputs":[[1,2],[3,[4]]]}', "inputs[1][1]: expected number, got array"),
    (ONE, '{"inputs":{"image":[[1,2],["3",4]]}}', "inputs.image[1][0]: expected number, got string"),
    (
        ONE,
        '{"instances":[{"image":[[1,2]]},{"image":[[1,2]]},{"image":[[1,2,"a"]]}]}',
        "instances[2].image[0][2]: expected number, got string",
    ),
    (ONE, '{"instances":[{"image":[1,2]},[1,2]]}', "instances[1]: expected names as in those before"),
    (ONE, '{"instances":[[1,2],{"image":[1,2]}]}', "instances[1]: expected array, got object"),
    (ONE, '{"instances":[{"b64":"AAAAAAAAAAA="},{"image":[1]}]}', "instances[1]: expected no names as in those before"),
    (ONE, '{"inputs":{}}', f"inputs: missing inputs: ['image']. {SET_ONE}"),
    (ONE, '{"inputs":{"x":1}}', f"inputs: input tensor alias not found in signature: 'x'. {SET_ONE}"),
    (ONE, '{"instances":[{"image":[1,2],"image":[1,2]}]}', "instances[0]: 'image' is there twice"),
    (TWO, '{"inputs":[1,2]}', f"inputs: expected object, got array. {SET_TWO}"),
    (TWO, '{"instances":[[1,2]]}', f"instances: expected object, got array. {SET_TWO}"),
    (TWO, '{"instances":[{"a":[1,2,3,4],"b":1},{"b":2}]}', f"instances[1]: missing inputs: ['a']. {SET_TWO}"),
    (TWO, '{"instances":[{}]}', f"instances[0]: missing inputs: ['a', 'b']. {SET_TWO}"),
    (TWO, '{"inputs":{"a":[[1]],"b":[2],"c":1}}', f"inputs: input tensor alias not found in signature: 'c'. {SET_TWO}"),
    (
        TWO,
        '{"inputs":{"a":[[1]],"b":[1.5]}}',
        "inputs.b[0]: expected an integer from -9223372036854775808 to 9223372036854775807, got 1.5",
    ),
    (BYTES, '{"instances":[1,2,256]}', "instances[2]: expected an integer from 0 to 255, got 256"),
    (BYTES, '{"instances":[1,2,-1]}', "instances[2]: expected an integer from 0 to 255, got -1"),
    (BYTES, '{"inputs":[' + "9" * 99 + "]}", f"inputs[0]: expected an integer from 0 to 255, got {'9' * 32}"),
    (FLAGS, '{"inputs":[true,2]}', "inputs[1]: expected true, false, 1 or 0, got 2"),
    (FLAGS, '{"inputs":[true,"true"]}', "inputs[1]: expected boolean, got string"),
    (STRINGS, '{"inputs":["a",5]}', "inputs[1]: expected string, got number"),
    (STRINGS, '{"inputs":["a",{"x":"AA=="}]}', "inputs[1]: expected string, got object"),
    (STRINGS, '{"inputs":["a",{"b64":5}]}', 'inputs[1]: expected base64 in "b64", got number'),
    (STRINGS, '{"inputs":["a",{"b64":"A"}]}', f"inputs[1]: {NO_BASE64}"),
    (STRINGS, '{"instances":[{"x":{"b64":"?"}}]}', f"instances[0].x: {NO_BASE64}"),
    (ONE, '{"inputs":{"b64":"AAAA"}}', 'inputs: "b64" holds 3 bytes, expected a multiple of 8'),
    (
        ONE,
        '{"instances":[{"image":{"b64":"AAAAAAAAAAA="}},{"image":{"b64":"AAAA"}}]}',
        'instances[1].image: "b64" holds 3 bytes, expected 8',
    ),
    (ONE, '{"instances":[{"image":[[1]]},{"image":{"b64":"AAAAAAAAAAA="}}]}', "instances[1].image: the shape differs"),
    (ONE, nested('{"inputs":', 17), f"inputs{'[0]' * 16}: {TOO_DEEP}"),
    (ONE, nested('{"inputs":{"image":', 17), f"inputs.image{'[0]' * 16}: {TOO_DEEP}"),
    (ONE, nested('{"instances":', 17), f"instances{'[0]' * 16}: {TOO_DEEP}"),
    (ONE, nested('{"instances":[{"image":', 16), f"instances[0].image{'[0]' * 15}: {TOO_DEEP}"),
    (ONE, nested('{"inputs":', 500_000), f"inputs{'[0]' * 16}: {TOO_DEEP}"),
    (STRINGS, nested('{"inputs":', 17), f"inputs{'[0]' * 16}: {TOO_DEEP}"),
]


@pytest.mark.parametrize(("body", "told"), GRAMMAR, ids=[body or "empty" for body, _ in GRAMMAR])
def test_grammar(body: str, told: str) -> None:
    assert refusal(ONE, body.encode()) == f"@{told}"


@pytest.mark.parametrize(("signature", "body", "told"), INPUTS, ids=[body[:60] for _, body, _ in INPUTS])
def test_inputs(signature: Signature, body: str, told: str) -> None:
    found = refusal(signature, body.encode())
    assert found == told or (told.endswith("differs") and found.startswith(told))


def test_offsets_count_bytes() -> None:
    """Also those of a byte order mark, and of characters that take several."""
    assert refusal(ONE, b"\xef\xbb\xbf[").startswith("@3: ")
    assert refusal(ONE, '{"\u20ac\U0001d11e":x'.encode()).startswith("@11: ")


ODD_NAMES = ("n" * 100_000, "\u20ac" * 5000, "\U0001d11e" * 200, "'" * 500, "\\" * 500, "\x00\n\x1b[31m\x7f" * 90)


@pytest.mark.parametrize("name", ODD_NAMES, ids=["long", "euros", "clefs", "quotes", "backslashes", "controls"])
def test_long_and_odd_names(name: str) -> None:
    """A name of the client's is told cut, on one line, and as whole characters."""
    second = {"inputs": {"image": [[1, 2]], name: 0}}
    for body in ({"inputs": {name: 1}}, {"instances": [{name: 1}]}, {name: 1}, second):
        for ascii_only in (True, False):
            told = refusal(ONE, json.dumps(body, ensure_ascii=ascii_only).encode())
            assert all(character >= " " and character != "\x7f" for character in told)


def test_long_values() -> None:
    for body in ('{"inputs":[' + "1" * 100_000 + "e]}", '{"inputs":[' + "-" * 5000, '{"inputs":"' + "a" * 5000 + '"}'):
        refusal(ONE, body.encode())
    for text in ("1" * 100_000, "0." + "1" * 100_000, "1e" + "9" * 100_000):
        refusal(BYTES, f'{{"inputs":[{text}]}}'.encode())
    refusal(STRINGS, b'{"inputs":{"b64":"' + b"?" * 100_000 + b'"}}')
    deep = [("x", "f32", (1,) * 16)]
    value = b"[" * 15 + b"1," * 5 + b'"a"'
    assert refusal(deep, b'{"instances":' + value).startswith("instances" + "[0]" * 14 + "[5]: expected number")


@pytest.mark.parametrize("inputs", [2, 50, 1000])
def test_many_inputs(inputs: int) -> None:
    """Lists of names are cut."""
    signature = [(f"a_rather_long_name_of_an_input_{number}", "f32", (-1,)) for number in range(inputs)]
    for body in (b'{"inputs":{}}', b'{"inputs":[1]}', b'{"inputs":{"x":1}}', b'{"instances":[{}]}'):
        with pytest.raises(ServingError) as error:
            codec.JsonPredictReader(signature).read(body)
        assert len(error.value.message) <= 2 * LONGEST_MESSAGE  # two lists of the model's own names
