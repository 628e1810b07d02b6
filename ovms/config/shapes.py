"""The batch_size and shape of a model."""

import re
from typing import Final, Literal

from ovms.config.by_input import by_input
from ovms.config.scalars import UnfitError, as_json, explain, shortened, whole_number
from ovms.config.values import AUTO
from ovms.errors import ConfigError

MOST_DIMENSIONS: Final = 16
"""What a request's tensor may have, too."""

LARGEST_DIMENSION: Final = 2**31 - 1

_EXPECTED: Final = 'a shape, such as "(1,3,224,224)", "(-1,3,224:512,224:512)" or "auto", or an object of them by input'
_DIMENSION: Final = "a whole number from 1, -1 or ? for any, or a range such as 224:512"
_RANGE: Final = re.compile(r"(\d{1,10})\s*(?::|\.\.)\s*(\d{1,10})", re.ASCII)


def parse_batch_size(value: object) -> int | Literal["auto"]:
    """Read a number or ``auto``; ConfigError for anything else."""
    if isinstance(value, str) and value.strip().lower() == AUTO:
        return AUTO
    try:
        return whole_number(1, LARGEST_DIMENSION)(value)
    except UnfitError:
        raise UnfitError('a whole number, 1 or more, or "auto"') from None


def parse_shape(value: object) -> dict[str, str]:
    """Read a shape into ``ModelConfig.shapes``: input -> ``auto`` or OpenVINO's text, such as ``[?,3,224..512,224]``.

    Takes text, a list of dimensions, or an object of these by input. Raises ConfigError that begins with the
    ancestor's words.
    """
    try:
        return by_input(value, _one_shape)
    except ConfigError as error:
        given = value if isinstance(value, str) else as_json(value)
        raise ConfigError(
            f"Error getting shapes from the string: {shortened(given)}: {explain(error, value, as_json)}"
        ) from None


def _one_shape(value: object) -> str:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() == AUTO:
            return AUTO
        if len(text) < 2 or text[0] + text[-1] not in ("()", "[]"):
            raise UnfitError(_EXPECTED)
        # One dimension is often written as Python does: (8,)
        items: list[object] = [item.strip() for item in text[1:-1].strip().removesuffix(",").split(",")]
    elif isinstance(value, list):
        items = value
    else:
        raise UnfitError(_EXPECTED)
    if not items or items == [""]:
        raise ConfigError("a shape without dimensions; expected at least one")
    if len(items) > MOST_DIMENSIONS:
        raise ConfigError(f"a shape of {len(items)} dimensions; expected at most {MOST_DIMENSIONS}")
    return f"[{','.join(_dimension(item) for item in items)}]"


def _dimension(item: object) -> str:
    if item in ("?", "-1") or (item == -1 and isinstance(item, int)):
        return "?"
    if isinstance(item, str) and (found := _RANGE.fullmatch(item.strip())):
        least, most = int(found[1]), int(found[2])
        if not 1 <= least <= most <= LARGEST_DIMENSION:
            raise ConfigError(f"the range {as_json(item)} must go up, from 1 at least to {LARGEST_DIMENSION} at most")
        return f"{least}..{most}" if least < most else str(least)
    try:
        return str(whole_number(1, LARGEST_DIMENSION)(item))
    except UnfitError:
        raise ConfigError(f"{as_json(item)} is not a dimension; expected {_DIMENSION}") from None
