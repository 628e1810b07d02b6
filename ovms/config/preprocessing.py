"""Layout, precision, colour format, mean and scale: what happens to an input before the model sees it."""

import re
from collections.abc import Mapping
from typing import Final

from ovms.config.by_input import by_input
from ovms.config.scalars import UnfitError, finite
from ovms.config.strict_json import parse_option
from ovms.config.values import Preprocessing
from ovms.errors import ConfigError

# OpenVINO's name, then the others that are in use: its own former ones, NumPy's, TensorFlow's, KServe's.
_PRECISIONS: Final = {
    "f32": ("fp32", "float32", "float", "dt_float"),
    "f16": ("fp16", "float16", "half", "dt_half"),
    "bf16": ("bfloat16", "dt_bfloat16"),
    "f64": ("fp64", "float64", "double", "dt_double"),
    "i8": ("int8", "dt_int8"),
    "i16": ("int16", "dt_int16"),
    "i32": ("int32", "dt_int32"),
    "i64": ("int64", "dt_int64"),
    "u8": ("uint8", "dt_uint8"),
    "u16": ("uint16", "dt_uint16"),
    "u32": ("uint32", "dt_uint32"),
    "u64": ("uint64", "dt_uint64"),
    "boolean": ("bool", "dt_bool"),
}
_PRECISION_OF: Final = {name: own for own, names in _PRECISIONS.items() for name in (own, *names)}

_COLORS: Final = ("RGB", "BGR", "GRAY", "RGBX", "BGRX")
# What OpenVINO converts between.
_COLOR_CONVERSIONS: Final = (
    *("RGB:BGR", "BGR:RGB", "RGB:GRAY", "BGR:GRAY"),
    *("RGBX:RGB", "RGBX:BGR", "BGRX:RGB", "BGRX:BGR"),
)

_LAYOUT: Final = re.compile(r"(?:[A-Z]|\?)*(?:\.\.\.)?(?:[A-Z]|\?)*")
_LAYOUT_EXPECTED: Final = 'a layout such as "NHWC:NCHW" (what clients send : what the model takes) or "NHWC"'
_LONGEST_LAYOUT: Final = 16
_NUMBERS_EXPECTED: Final = "a number, or one for each channel such as [123.675,116.28,103.53]"
_MOST_CHANNELS: Final = 65536


def parse_layout(value: object) -> dict[str, str]:
    """Read layouts by tensor name: ``NHWC:NCHW`` or ``NHWC``; ConfigError for anything else."""
    return by_input(value, _layout)


def _layout(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnfitError(_LAYOUT_EXPECTED)
    layouts = value.strip().upper().split(":")
    if len(layouts) > 2:
        raise UnfitError(_LAYOUT_EXPECTED)
    for layout in layouts:
        letters = re.findall("[A-Z]", layout)
        if not layout or len(layout) > _LONGEST_LAYOUT or not _LAYOUT.fullmatch(layout):
            raise UnfitError(_LAYOUT_EXPECTED)
        if len(set(letters)) < len(letters):
            raise UnfitError(f"a layout: a letter of {layout} is there twice")
    whole = all(layout.isalpha() for layout in layouts)
    if whole and len(layouts) == 2 and sorted(layouts[0]) != sorted(layouts[1]):
        raise UnfitError("a change of layout: both sides need the same letters")
    return ":".join(layouts)


def parse_precision(value: object) -> dict[str, str]:
    """Read the element types that clients send, by input name, into OpenVINO's names; ConfigError for unknown ones."""
    return by_input(value, _precision)


def _precision(value: object) -> str:
    names = value.strip().lower().split(":") if isinstance(value, str) else []
    known = [_PRECISION_OF.get(name.strip()) for name in names]
    first = known[0] if known else None
    if first is None or None in known or len(known) > 2:
        raise UnfitError(f"an element type; expected one of {', '.join(_PRECISIONS)}, such as FP32 or u8:f32")
    return first


def parse_color_format(value: object) -> dict[str, str]:
    """Read colour formats by input name: ``BGR:RGB``; ConfigError for what OpenVINO cannot convert.

    A format that is to stay as it is needs no conversion, and its input is left out.
    """
    return {name: found for name, found in by_input(value, _color_format).items() if found}


def _color_format(value: object) -> str:
    colors = [color.strip() for color in value.upper().split(":")] if isinstance(value, str) else []
    if len(colors) == 2 and colors[0] == colors[1] and colors[0] in _COLORS:
        return ""
    if ":".join(colors) not in _COLOR_CONVERSIONS:
        raise UnfitError(
            "a conversion of colours (what clients send : what the model takes); "
            f"expected one of {', '.join(_COLOR_CONVERSIONS)}"
        )
    return ":".join(colors)


def parse_mean(value: object) -> dict[str, tuple[float, ...]]:
    """Read what to subtract, by input name: one number, or one for each channel; ConfigError for anything else."""
    return by_input(value, _numbers)


def parse_scale(value: object) -> dict[str, tuple[float, ...]]:
    """Read what to divide by, by input name: as ``parse_mean``, and never 0."""
    return by_input(value, _divisors)


def _divisors(value: object) -> tuple[float, ...]:
    numbers = _numbers(value)
    if 0 in numbers:
        raise UnfitError("a scale: inputs are divided by it, so it must not be 0")
    return numbers


def _numbers(value: object) -> tuple[float, ...]:
    if isinstance(value, str) and value.strip()[:1] in ("[", "("):
        value = _list(value.strip())
    items = value if isinstance(value, list) else [value]
    if not items:
        raise UnfitError(_NUMBERS_EXPECTED)
    if len(items) > _MOST_CHANNELS:
        raise ConfigError(f"{len(items)} numbers; expected at most {_MOST_CHANNELS}, one for each channel")
    numbers: list[float] = []
    for item in items:
        number = finite(item)
        if number is None:
            raise UnfitError(_NUMBERS_EXPECTED)
        numbers.append(number)
    return tuple(numbers)


def _list(text: str) -> object:
    if text[0] == "(" and text[-1] == ")":
        text = f"[{text[1:-1]}]"
    try:
        return parse_option(text)
    except ConfigError:
        raise UnfitError(_NUMBERS_EXPECTED) from None


def preprocessing(
    layout: Mapping[str, str],
    precision: Mapping[str, str],
    color_format: Mapping[str, str],
    mean: Mapping[str, tuple[float, ...]],
    scale: Mapping[str, tuple[float, ...]],
) -> dict[str, Preprocessing]:
    """Put the five together, by input name."""
    names = dict.fromkeys(name for values in (layout, precision, color_format, mean, scale) for name in values)
    return {
        name: Preprocessing(
            layout=layout.get(name),
            precision=precision.get(name),
            color_format=color_format.get(name),
            mean=mean.get(name, ()),
            scale=scale.get(name, ()),
        )
        for name in names
    }
