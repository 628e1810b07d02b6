"""Environment variables: those that options can be given by, and the ancestor's own."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ovms.config.options import MODEL_NAME, MODEL_OPTIONS, MODEL_PATH, Option
from ovms.config.secret import masked
from ovms.config.server_options import CHECK_OPTIONS, CONFIG_PATH, LOG_LEVELS, READY_OPTIONS, SERVER_OPTIONS
from ovms.config.values import Serialization

PREFIX: Final = "OVMS_"

ALL_OPTIONS: Final = tuple(
    {
        option.name: option
        for option in (
            *(MODEL_NAME, MODEL_PATH, CONFIG_PATH),
            *(*MODEL_OPTIONS, *SERVER_OPTIONS, *CHECK_OPTIONS, *READY_OPTIONS),
        )
    }.values()
)
"""Every option of every command, once."""

SERIALIZATION: Final = "SERIALIZATION_FUNCTION"
SERIALIZATION_FUNCTIONS: Final[Mapping[Serialization, str]] = {
    "make_tensor_proto": "_prepare_output_with_make_tensor_proto",
    "append_array": "_prepare_output_as_AppendArrayToTensorProto",
}
"""How outputs are packed -> the ancestor's name for that."""
ANCESTORS: Final[Mapping[str, str]] = {
    "log_level": "LOG_LEVEL",
    "log_path": "LOG_PATH",
    "file_system_poll_wait_seconds": "FILE_SYSTEM_POLL_WAIT_SECONDS",
    "cpu_extension": "CPU_EXTENSION",
}
"""Option -> the ancestor's variable for the same thing."""

_CPU_EXTENSIONS: Final = (
    "/usr/local/lib/libcpu_extension.so",
    "/usr/lib64/libcpu_extension.so",
    "/opt/intel/openvino/deployment_tools/inference_engine/lib/intel64/libcpu_extension_avx2.so",
)
# Kubernetes tells the containers of a namespace about each of its services, and a service called "ovms" is likely.
_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://")
_SERVICE_NAME: Final = re.compile(
    r"OVMS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def variable_of(option: Option, environment: Mapping[str, str]) -> str | None:
    """The variable that gives the option, its own before the ancestor's; an empty one gives nothing."""
    own = environment.get(option.variable)
    if own and not _SERVICE_LINK.match(own):
        return option.variable
    ancestor = ANCESTORS.get(option.name)
    return ancestor if ancestor and environment.get(ancestor) else None


def ancestors_value(variable: str, given: str) -> str:
    """The text of the ancestor's variable; where the ancestor took anything, what it made of that."""
    if variable == ANCESTORS["log_level"] and given.upper() not in LOG_LEVELS:
        return "INFO"
    return given


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """The names of variables that look as if they were options and are none."""
    known = {option.variable for option in ALL_OPTIONS}
    return sorted(
        variable
        for variable, value in environment.items()
        if variable.startswith(PREFIX)
        and variable not in known
        and not (_SERVICE_NAME.fullmatch(variable) or _SERVICE_LINK.match(value))
    )


def seen_variables(environment: Mapping[str, str]) -> dict[str, object]:
    """The variables that are read here and are set, with nothing secret in them: for the log."""
    names: Iterable[str] = (
        *ANCESTORS.values(),
        SERIALIZATION,
        *(option.variable for option in ALL_OPTIONS),
    )
    return {name: masked(name, environment[name]) for name in names if name in environment}


def serialization(environment: Mapping[str, str]) -> Serialization:
    """How outputs are to be packed."""
    chosen = environment.get(SERIALIZATION)
    return "append_array" if chosen == SERIALIZATION_FUNCTIONS["append_array"] else "make_tensor_proto"


def default_cpu_extension(exists: Callable[[str], bool] = os.path.isfile) -> str | None:
    """The library of operations that images of the ancestor had: the last of its places that is there."""
    return next((place for place in reversed(_CPU_EXTENSIONS) if exists(place)), None)
