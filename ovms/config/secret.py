"""What must not be seen in a log."""

import json
import re
from collections.abc import Mapping
from typing import Final

MASK: Final = "***"
_WORDS: Final = ("KEY", "SECRET", "TOKEN", "PASSWORD", "CREDENTIAL")
# OpenVINO's options had this prefix up to 2022; it says nothing about what they hold.
_PREFIX: Final = "KEY_"
_USER: Final = re.compile(r"(\w+://)[^/@\s]*@")
_QUERY: Final = re.compile(r"(\w+://[^?\s]*\?).*", re.DOTALL)


def is_secret(name: str) -> bool:
    """Whether something of this name may be a secret; the name of a file that holds one is none."""
    own = name.upper().removeprefix(_PREFIX)
    return any(word in own for word in _WORDS) and not own.endswith("_FILE")


def masked(name: str, value: object) -> object:
    """The value, with all in it that may be secret replaced: by its name, by names inside, or as part of a URL."""
    if is_secret(name):
        return MASK
    if isinstance(value, Mapping):
        return {key: masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked("", item) for item in value]
    return _masked_text(value) if isinstance(value, str) else value


def _masked_text(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.dumps(masked("", json.loads(text)))
        except (ValueError, RecursionError):
            # Not JSON after all, so there is no telling what is a name in it.
            return MASK if any(word in text.upper() for word in _WORDS) else text
    return _QUERY.sub(rf"\1{MASK}", _USER.sub(rf"\1{MASK}@", text))
