"""mapping_config.json: other names for the tensors of one version."""

import json
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FILE_NAME: Final = "mapping_config.json"
LARGEST_FILE: Final = 16 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TensorNames:
    """Model tensor name -> public name. A tensor that is not listed keeps its own."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def read_mapping(version: Path) -> TensorNames:
    """Return the names that a version's folder gives its tensors; none if it has no such file.

    A file that cannot be read or understood is logged, and counts as none: the version is served all the same.
    """
    path = version / FILE_NAME
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would wait for whoever writes to it
            raise ValueError("not a regular file")
        with path.open("rb") as file:
            content = json.loads(file.read(LARGEST_FILE))
        if not isinstance(content, dict):
            raise ValueError('expected an object with "inputs" and "outputs"')
        return TensorNames(_names(content, "inputs"), _names(content, "outputs"))
    except (FileNotFoundError, NotADirectoryError):  # the second: the version is a file, not a folder
        return TensorNames()
    except (OSError, ValueError, RecursionError) as error:
        # The ancestor's words, which people look for.
        logger.error("Error occurred while reading mapping_config in path %s. Message error %s", path, error)
        return TensorNames()


def _names(content: Mapping[str, object], key: str) -> dict[str, str]:
    names = content.get(key, {})
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"{key}: expected an object with the name of a tensor as every key and text as every value")
    for name in (*names, *names.values()):
        name.encode()  # JSON can spell a surrogate, and no message can carry one: UnicodeError, a ValueError
    return names
