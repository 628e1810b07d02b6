"""JSON, read strictly: what the format leaves open (a key that is there twice, NaN) is a mistake here."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ovms.errors import ConfigError

DEEPEST: Final = 32
"""Levels of objects and lists; configurations need six."""


@dataclass(frozen=True)
class Finding:
    """Something about one place of a JSON document."""

    pointer: str
    """The place as a JSON pointer (RFC 6901); empty for the whole document."""

    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}" if self.pointer else self.message


class _Object(dict[str, object]):
    """A JSON object that knows which of its keys were there more than once."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated = _repeated([key for key, _ in pairs]) if len(self) < len(pairs) else ()


def _repeated(keys: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    again: dict[str, None] = {}
    for key in keys:
        if key in seen:
            again[key] = None
        seen.add(key)
    return tuple(again)


def below(pointer: str, *steps: str | int) -> str:
    """The JSON pointer of a place below another one."""
    return pointer + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def parse(text: str, *, always_line: bool = False) -> tuple[object, list[Finding]]:
    """Read a document; its value, and all in it that is JSON for lenient readers only.

    Raises ConfigError for text that is no JSON, with line (``always_line``, or if it is not the first) and column,
    and for what is nested too deeply to be walked through.
    """
    try:
        value = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if always_line or error.lineno > 1 else ""
        where = f"{error.msg.removesuffix(' at')} at {line}column {error.colno}"
        raise ConfigError(f"not valid JSON: {where}") from None
    except RecursionError:
        raise ConfigError(f"not usable JSON: nested too deeply, expected at most {DEEPEST} levels") from None
    except ValueError:  # the interpreter reads numbers up to a certain length only
        raise ConfigError("not usable JSON: a number in it has too many digits") from None
    return value, list(_findings(value, "", 1))


def parse_option(text: str) -> object:
    """Read the JSON text of one option; ConfigError for the first thing that is wrong with it."""
    value, findings = parse(text)
    if findings:
        raise ConfigError(str(findings[0]))
    return value


def _findings(value: object, pointer: str, level: int) -> Iterator[Finding]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Finding(pointer, "NaN, Infinity and what is too large for a number are not allowed")
    if not isinstance(value, _Object | list):
        return
    if level > DEEPEST:
        raise ConfigError(f"not usable JSON: nested too deeply at {pointer}, expected at most {DEEPEST} levels")
    if isinstance(value, _Object):
        for key in value.repeated:
            yield Finding(below(pointer, key), "the key stands in its object more than once; keep one")
    for step, item in value.items() if isinstance(value, _Object) else enumerate(value):
        yield from _findings(item, below(pointer, step), level + 1)
