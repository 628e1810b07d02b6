"""Numbers, words and switches, read from text or from JSON values."""

import json
import math
import os
import re
from collections.abc import Callable
from typing import Final

from ovms.errors import ConfigError

# What C++ holds such numbers in.
LARGEST_COUNT: Final = 2**31 - 1
LARGEST_VERSION: Final = 2**63 - 1
# A year. The system's clocks and waits end somewhere beyond.
LONGEST_SECONDS: Final = 31_536_000.0
# Of requests per second: finer than a clock, or slower than anybody waits, is a mistake.
LEAST_RATE: Final = 0.001
LARGEST_RATE: Final = 1e6
# Enough to recognise a value by; a message has to stay one readable line.
_SHOWN_CHARACTERS: Final = 120


class UnfitError(ConfigError):
    """A value is not what it should be. Whoever knows its notation and its place puts both into words."""

    def __init__(self, expected: str) -> None:
        """``expected`` goes on after "... is not "."""
        super().__init__(f"expected {expected}")
        self.expected = expected


def explain(error: ConfigError, value: object, show: Callable[[object], str]) -> str:
    """What is wrong with the value that raised the error, in one sentence."""
    return f"{show(value)} is not {error.expected}" if isinstance(error, UnfitError) else error.message


def as_text(value: object) -> str:
    """How a value of the command line or the environment is quoted in a message."""
    return shortened(repr(value))


def as_json(value: object) -> str:
    """How a value of a JSON file is quoted in a message."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def kind(value: object) -> str:
    """What kind of JSON value it is, for what is too large, or none of a log's business, to be quoted."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "text"


def shortened(text: str) -> str:
    """The text, without its end if it is long."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def whole_number(least: int, most: int = LARGEST_COUNT) -> Callable[[object], int]:
    """Return a reader of whole numbers, given as a number or as decimal text."""

    def read(value: object) -> int:
        number = _whole(value)
        if number is None or number < least:
            raise UnfitError(f"a whole number, {least} or more")
        if number > most:
            raise UnfitError(f"a whole number, {least} to {most}")
        return number

    return read


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # The interpreter refuses to read very long numbers, and all of those are too large here.
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value) if len(value) < 30 else 10**30
    return None


def port(value: object) -> int:
    """Read a TCP port; 0 is one."""
    number = _whole(value)
    if number is None or not 0 <= number <= 65535:
        raise UnfitError("a port number, 0 to 65535")
    return number


def rest_port(value: object) -> int:
    """Read the port of REST: 0 and negative numbers mean that there is none."""
    number = _whole(value.removeprefix("-")) if isinstance(value, str) else None
    if number is None:
        raise UnfitError("a port number, or 0 for none")
    return 0 if str(value).startswith("-") else port(value)


def seconds(value: object) -> float:
    """Read a duration in seconds, 0 or more."""
    number = finite(value)
    if number is None or number < 0:
        raise UnfitError("a number of seconds, 0 or more")
    return _within_reason(number)


def positive_seconds(value: object) -> float:
    """Read a duration in seconds, more than 0."""
    number = finite(value)
    if number is None or number <= 0:
        raise UnfitError("a number of seconds, more than 0")
    return _within_reason(number)


def rate(value: object) -> float:
    """Read a number of things per second; 0 means any number."""
    number = finite(value)
    if number is None or number < 0 or 0 < number < LEAST_RATE or number > LARGEST_RATE:
        raise UnfitError(f"a number from {LEAST_RATE:g} to {LARGEST_RATE:g} per second, or 0 for any")
    return number


def pause(value: object) -> float:
    """Read a pause in seconds; 0 and negative numbers are allowed, and mean never."""
    number = finite(value)
    if number is None:
        raise UnfitError("a number of seconds")
    return _within_reason(number)


def _within_reason(number: float) -> float:
    if number > LONGEST_SECONDS:
        raise UnfitError(f"a number of seconds up to a year, {LONGEST_SECONDS:.0f}")
    return number


def finite(value: object) -> float | None:
    """A number given as such or as text; None for anything else, infinity and NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def text(value: object) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str):
        raise UnfitError("text")
    if not value.strip():
        raise ConfigError("must not be empty")
    if "\0" in value:
        raise UnfitError("text without NUL characters")
    return value


def name(value: object) -> str:
    """Read text that messages of clients and lines of logs can carry."""
    read = text(value)
    if not read.isprintable():
        raise UnfitError("text without control characters")
    try:
        read.encode()
    except UnicodeEncodeError:
        raise UnfitError("text that UTF-8 can spell") from None
    return read


def path(value: object) -> str:
    """Read a path, of which nothing needs to exist."""
    read = text(value)
    try:
        os.fsencode(read)
    except UnicodeEncodeError:
        raise UnfitError("a path that a file can have") from None
    return read


def file_mode(value: object) -> int:
    """Read who may use a file, in octal."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise UnfitError("three octal digits, such as 0600 or 0660")
    return int(value, 8)


def word_list(value: object) -> tuple[str, ...]:
    """Read words with commas between them; ``*`` stands alone."""
    found = tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else ()
    if not all(word.isascii() and word.isprintable() and word and " " not in word for word in found) or not found:
        raise UnfitError("a list of words with commas between them, or *")
    if "*" in found and len(found) > 1:
        raise UnfitError("either * or a list without it")
    return found


TLS_PORTS: Final = ("grpc", "rest", "metrics")


def tls_ports(value: object) -> tuple[str, ...]:
    """Read names of ports with commas between them."""
    found = tuple(word.strip().lower() for word in value.split(",")) if isinstance(value, str) else ()
    if not found or not set(found) <= set(TLS_PORTS):
        raise UnfitError(f"some of {', '.join(TLS_PORTS)}, with commas between them")
    return found


def choice(*words: str) -> Callable[[object], str]:
    """Return a reader of one of these words, in capitals or not."""

    def read(value: object) -> str:
        for word in words:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        raise UnfitError(f"one of {', '.join(words)}")

    return read


def switch_text(value: object) -> bool:
    """Read a switch in words."""
    word = value.lower() if isinstance(value, str) else None
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise UnfitError("1 or 0, true or false, yes or no, on or off")


def switch_json(value: object) -> bool:
    """Read a switch in JSON, where text is no switch: "false" is true in too many languages."""
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value
