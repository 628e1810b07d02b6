"""The small grammars: what each takes and what it says about the rest."""

from collections.abc import Callable

import pytest

from ovms.config import AUTO, ONLY_INPUT, Preprocessing
from ovms.config.options import parse_version_labels
from ovms.config.preprocessing import (
    parse_color_format,
    parse_layout,
    parse_mean,
    parse_precision,
    parse_scale,
    preprocessing,
)
from ovms.config.scalars import as_json, explain, switch_json, switch_text
from ovms.config.shapes import parse_batch_size, parse_shape
from ovms.errors import ConfigError


def complaint(read: Callable[[object], object], value: object) -> str:
    with pytest.raises(ConfigError) as refused:
        read(value)
    return explain(refused.value, value, as_json)


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ("auto", {ONLY_INPUT: AUTO}),
        (" AUTO ", {ONLY_INPUT: AUTO}),
        ("(1,3,224,224)", {ONLY_INPUT: "[1,3,224,224]"}),
        ("[1, 3, 224, 224]", {ONLY_INPUT: "[1,3,224,224]"}),
        ([1, 3, 224, 224], {ONLY_INPUT: "[1,3,224,224]"}),
        ([1, "3", -1, "2:4", "?"], {ONLY_INPUT: "[1,3,?,2..4,?]"}),
        ("(8,)", {ONLY_INPUT: "[8]"}),
        ("( 8 )", {ONLY_INPUT: "[8]"}),
        ("(-1,3,224:512,224:512)", {ONLY_INPUT: "[?,3,224..512,224..512]"}),
        ("(?,3,224 : 512)", {ONLY_INPUT: "[?,3,224..512]"}),
        ("[?,3,224..512]", {ONLY_INPUT: "[?,3,224..512]"}),
        ("(5:5)", {ONLY_INPUT: "[5]"}),
        ("(2147483647)", {ONLY_INPUT: "[2147483647]"}),
        ('{"in1": "(1,3,200,200)", "in2": "auto"}', {"in1": "[1,3,200,200]", "in2": AUTO}),
        ({"in1": "(1,3,200,200)", "in2": [1, -1]}, {"in1": "[1,3,200,200]", "in2": "[1,?]"}),
        ({"a:0": "auto"}, {"a:0": AUTO}),
    ],
)
def test_shape(given: object, shapes: dict[str, str]) -> None:
    assert parse_shape(given) == shapes


@pytest.mark.parametrize(
    ("given", "text", "reason"),
    [
        ("1,3,224,224", "1,3,224,224", "is not a shape, such as"),
        ("(1,3", "(1,3", "is not a shape, such as"),
        ("(1,3]", "(1,3]", "is not a shape, such as"),
        ("", "", "is not a shape, such as"),
        ("(", "(", "is not a shape, such as"),
        (3, "3", "is not a shape, such as"),
        (None, "null", "is not a shape, such as"),
        (True, "true", "is not a shape, such as"),
        ("()", "()", "a shape without dimensions"),
        ([], "[]", "a shape without dimensions"),
        ("(1,x)", "(1,x)", '"x" is not a dimension; expected a whole number from 1'),
        ("(1,,2)", "(1,,2)", '"" is not a dimension'),
        ("(0)", "(0)", '"0" is not a dimension'),
        ("(1,-2)", "(1,-2)", '"-2" is not a dimension'),
        ("(1.5)", "(1.5)", '"1.5" is not a dimension'),
        ("(٣)", "(٣)", '"٣" is not a dimension'),
        ([1.0], "[1.0]", "1.0 is not a dimension"),
        ([-1.0], "[-1.0]", "-1.0 is not a dimension"),
        ([True], "[true]", "true is not a dimension"),
        ([[1]], "[[1]]", "[1] is not a dimension"),
        ("(2147483648)", "(2147483648)", '"2147483648" is not a dimension'),
        ("(512:224)", "(512:224)", 'the range "512:224" must go up'),
        ("(0:4)", "(0:4)", 'the range "0:4" must go up, from 1'),
        ("(" + "1," * 17 + ")", "(" + "1," * 17 + ")", "a shape of 17 dimensions; expected at most 16"),
        ("{", "{", "not valid JSON: Expecting property name"),
        ({}, "{}", "names no input"),
        ({"": "auto"}, '{"": "auto"}', "the name of an input must not be empty"),
        ({"a": "(x)"}, '{"a": "(x)"}', 'input "a": "x" is not a dimension'),
        ({"a": {"b": "auto"}}, '{"a": {"b": "auto"}}', 'input "a": {"b": "auto"} is not a shape'),
        ('{"a": "auto", "a": "auto"}', '{"a": "auto", "a": "auto"}', "/a: the key stands in its object more than once"),
    ],
)
def test_shape_refuses(given: object, text: str, reason: str) -> None:
    message = complaint(parse_shape, given)
    assert message.startswith(f"Error getting shapes from the string: {text}: ")
    assert reason in message


def test_a_long_shape_is_cut_in_the_message() -> None:
    assert len(complaint(parse_shape, "(" + "1," * 100000 + ")")) < 500


@pytest.mark.parametrize(("given", "size"), [("16", 16), (16, 16), ("auto", AUTO), ("Auto", AUTO)])
def test_batch_size(given: object, size: object) -> None:
    assert parse_batch_size(given) == size


@pytest.mark.parametrize("given", ["0", 0, -1, "x", "", None, 1.0, True, [1], "2147483648"])
def test_batch_size_refuses(given: object) -> None:
    assert complaint(parse_batch_size, given) == f'{as_json(given)} is not a whole number, 1 or more, or "auto"'


@pytest.mark.parametrize(
    ("read", "given", "result"),
    [
        (parse_layout, "NHWC:NCHW", {ONLY_INPUT: "NHWC:NCHW"}),
        (parse_layout, "nhwc", {ONLY_INPUT: "NHWC"}),
        (parse_layout, "N...", {ONLY_INPUT: "N..."}),
        (parse_layout, "N?HW", {ONLY_INPUT: "N?HW"}),
        (parse_layout, "N...C:NC...", {ONLY_INPUT: "N...C:NC..."}),
        (parse_layout, '{"a": "NHWC:NCHW", "out": "NC"}', {"a": "NHWC:NCHW", "out": "NC"}),
        (parse_precision, "FP32", {ONLY_INPUT: "f32"}),
        (parse_precision, "f32", {ONLY_INPUT: "f32"}),
        (parse_precision, "float32", {ONLY_INPUT: "f32"}),
        (parse_precision, "DT_FLOAT", {ONLY_INPUT: "f32"}),
        (parse_precision, "u8:f32", {ONLY_INPUT: "u8"}),
        (parse_precision, "UINT8 : FP32", {ONLY_INPUT: "u8"}),
        (parse_precision, "DT_HALF", {ONLY_INPUT: "f16"}),
        (parse_precision, "BF16", {ONLY_INPUT: "bf16"}),
        (parse_precision, "DT_BOOL", {ONLY_INPUT: "boolean"}),
        (parse_precision, "double", {ONLY_INPUT: "f64"}),
        (parse_precision, {"a": "I64", "b": "uint16"}, {"a": "i64", "b": "u16"}),
        (parse_color_format, "BGR:RGB", {ONLY_INPUT: "BGR:RGB"}),
        (parse_color_format, "rgbx:bgr", {ONLY_INPUT: "RGBX:BGR"}),
        (parse_color_format, "RGB:RGB", {}),
        (parse_color_format, {"a": "RGB:GRAY", "b": "BGR:BGR"}, {"a": "RGB:GRAY"}),
        (parse_mean, "0", {ONLY_INPUT: (0.0,)}),
        (parse_mean, -1.5, {ONLY_INPUT: (-1.5,)}),
        (parse_mean, "[123.675,116.28,103.53]", {ONLY_INPUT: (123.675, 116.28, 103.53)}),
        (parse_mean, "(1, 2)", {ONLY_INPUT: (1.0, 2.0)}),
        (parse_mean, [1, "2", 3.5], {ONLY_INPUT: (1.0, 2.0, 3.5)}),
        (parse_mean, '{"a": 1, "b": [1, 2]}', {"a": (1.0,), "b": (1.0, 2.0)}),
        (parse_scale, "255", {ONLY_INPUT: (255.0,)}),
        (parse_scale, {"a": "[58.395,57.12,57.375]"}, {"a": (58.395, 57.12, 57.375)}),
        (parse_version_labels, {"stable": 1, "canary": "2"}, {"stable": 1, "canary": 2}),
        (parse_version_labels, {}, {}),
    ],
)
def test_reads(read: Callable[[object], object], given: object, result: object) -> None:
    assert read(given) == result


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (parse_layout, "", '"" is not a layout such as "NHWC:NCHW"'),
        (parse_layout, ":", '":" is not a layout such as'),
        (parse_layout, "NHWC:", '"NHWC:" is not a layout such as'),
        (parse_layout, "N:H:W", '"N:H:W" is not a layout such as'),
        (parse_layout, "N.HW", '"N.HW" is not a layout such as'),
        (parse_layout, "N......", '"N......" is not a layout such as'),
        (parse_layout, "NHWN", '"NHWN" is not a layout: a letter of NHWN is there twice'),
        (parse_layout, "NHWC:NCH", '"NHWC:NCH" is not a change of layout: both sides need the same letters'),
        (parse_layout, 4, "4 is not a layout such as"),
        (parse_layout, ["NHWC"], '["NHWC"] is not a layout such as'),
        (parse_layout, {"a": "N1"}, 'input "a": "N1" is not a layout such as'),
        (parse_precision, "FP8", '"FP8" is not an element type; expected one of f32, f16'),
        (parse_precision, "u8:x", '"u8:x" is not an element type'),
        (parse_precision, "u8:f32:f32", '"u8:f32:f32" is not an element type'),
        (parse_precision, "", '"" is not an element type'),
        (parse_precision, 32, "32 is not an element type"),
        (parse_precision, {}, "{} names no input"),
        (parse_color_format, "BGR", '"BGR" is not a conversion of colours'),
        (parse_color_format, "GRAY:RGB", '"GRAY:RGB" is not a conversion of colours'),
        (parse_color_format, "CMYK:CMYK", '"CMYK:CMYK" is not a conversion of colours'),
        (parse_color_format, 1, "1 is not a conversion of colours"),
        (parse_mean, "x", '"x" is not a number, or one for each channel such as [123.675'),
        (parse_mean, "[1,x]", '"[1,x]" is not a number, or one'),
        (parse_mean, "[]", '"[]" is not a number, or one'),
        (parse_mean, "[[1]]", '"[[1]]" is not a number, or one'),
        (parse_mean, "nan", '"nan" is not a number, or one'),
        (parse_mean, "[NaN]", '"[NaN]" is not a number, or one'),
        (parse_mean, True, "true is not a number, or one"),
        (parse_mean, None, "null is not a number, or one"),
        (parse_mean, [1] * 65537, "65537 numbers; expected at most 65536"),
        (parse_mean, {"a": "x"}, 'input "a": "x" is not a number, or one'),
        (parse_mean, {"\ud800": 1}, "is not the name of an input: UTF-8 cannot spell it"),
        (parse_scale, 0, "0 is not a scale: inputs are divided by it, so it must not be 0"),
        (parse_scale, "[1,0,1]", '"[1,0,1]" is not a scale'),
        (parse_scale, "-0.0", '"-0.0" is not a scale'),
        (parse_version_labels, [], 'expected an object with versions by label, such as {"stable": 1}'),
        (parse_version_labels, {"": 1}, 'label "": must not be empty'),
        (parse_version_labels, {"a": 0}, 'label "a": 0 is not a whole number, 1 or more'),
        (parse_version_labels, {"a": True}, 'label "a": true is not a whole number, 1 or more'),
        (parse_version_labels, {"a": 2**63}, f'label "a": {2**63} is not a whole number, 1 to {2**63 - 1}'),
    ],
)
def test_refuses(read: Callable[[object], object], given: object, message: str) -> None:
    assert message in complaint(read, given)


def test_preprocessing_comes_together_by_input() -> None:
    assert preprocessing({"a": "NHWC:NCHW"}, {"b": "u8"}, {"a": "BGR:RGB"}, {"a": (1.0,)}, {"b": (2.0, 3.0)}) == {
        "a": Preprocessing(layout="NHWC:NCHW", color_format="BGR:RGB", mean=(1.0,)),
        "b": Preprocessing(precision="u8", scale=(2.0, 3.0)),
    }
    assert preprocessing({}, {}, {}, {}, {}) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("yes", True), ("On", True), ("0", False), ("false", False), ("no", False)],
)
def test_switches_in_words(text: str, value: bool) -> None:
    assert switch_text(text) is value


def test_switches_in_json_are_no_text() -> None:
    assert switch_json(True) is True
    assert complaint(switch_json, "true") == '"true" is not true or false'
    assert complaint(switch_json, 1) == "1 is not true or false"
