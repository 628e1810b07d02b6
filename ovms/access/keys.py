"""API keys: what one allows, and the file that they stand in.

A line is ``NAME SCOPES KEY`` with spaces between; ``#`` begins a line of comment. No message shows a word of a line: it
may be a key that stands in the wrong place.
"""

import enum
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from ovms.errors import ConfigError, clean

T = TypeVar("T")

LARGEST_FILE: Final = 1 << 20
"""Bytes."""

LONGEST_KEY: Final = 512
SHORTEST_KEY: Final = 16
"""Characters of a key. A hash of SHA-256 can be tried billions of times a second: what is short is found."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY: Final = re.compile(rf"[!-~]{{{SHORTEST_KEY},{LONGEST_KEY}}}")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_HASHED: Final = "sha256:"


class Scope(enum.IntFlag):
    """What a call needs a key for; ``keys.hpp`` has the same numbers."""

    OPEN = 0
    """No key is needed."""

    PREDICT = 1
    """Predictions, metadata, status."""

    ADMIN = 2
    """What changes the server: reloads."""

    METRICS = 4

    ANY_KEY = PREDICT | ADMIN | METRICS
    """Any key will do: the status page's files."""


_SCOPES: Final = {scope.name.lower(): scope for scope in (Scope.PREDICT, Scope.ADMIN, Scope.METRICS) if scope.name}


@dataclass(frozen=True)
class ApiKey:
    """A key, of which only the hash is kept."""

    name: str
    """What the log calls it."""

    scopes: Scope
    """All that it allows."""

    digest: bytes = field(repr=False)
    """SHA-256 of the key."""


def digest_of(key: str) -> bytes:
    """The hash that a key is known by."""
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()


def read_keys(file: str) -> tuple[ApiKey, ...]:
    """The keys of a file; ConfigError with the file, the line and what was expected there."""
    return parse_keys(file, read_bytes(file))


def read_bytes(file: str) -> bytes:
    """A file's content; ConfigError if it cannot be read, or is too large to hold keys."""
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"--api_keys_file: {clean(file)}: cannot be read: {error.strerror or error}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"--api_keys_file: {clean(file)}: expected at most {LARGEST_FILE} bytes")
    return content


def parse_keys(file: str, content: bytes) -> tuple[ApiKey, ...]:
    """The keys that a file of this name and content has; ConfigError as of ``read_keys``."""
    name = clean(file)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        place = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{place}: expected UTF-8") from None
    keys: list[ApiKey] = []
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = _parse_line(line)
            _once(names, key.name, number, "another name than")
            _once(digests, key.digest, number, "another key than")
        except ConfigError as error:
            raise ConfigError(f"{name}:{number}: {error.message}") from None
        keys.append(key)
    if not keys:
        raise ConfigError(f"{name}: expected at least one line NAME SCOPES KEY: without a key nobody would be let in")
    return tuple(keys)


def _parse_line(line: str) -> ApiKey:
    words = line.split()
    if len(words) != 3:
        raise ConfigError(f"expected NAME SCOPES KEY with spaces between, got {len(words)} words")
    name, scopes, key = words
    if not _NAME.fullmatch(name):
        raise ConfigError("the first word: expected a name of up to 64 letters, digits, dots, dashes and underscores")
    allowed = Scope.OPEN
    for scope in scopes.split(","):
        if scope not in _SCOPES:
            raise ConfigError(f"the second word: expected scopes with commas between, out of {', '.join(_SCOPES)}")
        allowed |= _SCOPES[scope]
    return ApiKey(name, allowed, _digest(key))


def _digest(key: str) -> bytes:
    if key.startswith(_HASHED):
        hashed = key.removeprefix(_HASHED)
        if not _DIGEST.fullmatch(hashed):
            raise ConfigError(f"the third word: expected 64 hexadecimal digits behind {_HASHED}")
        return bytes.fromhex(hashed)
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"the third word: expected a key of {SHORTEST_KEY} to {LONGEST_KEY} visible characters of ASCII, or "
            f"{_HASHED} and the SHA-256 of one in hexadecimal"
        )
    return digest_of(key)


def _once(seen: dict[T, int], value: T, number: int, expected: str) -> None:
    first = seen.setdefault(value, number)
    if first != number:
        raise ConfigError(f"expected {expected} in line {first}")
