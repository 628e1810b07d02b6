"""Values that hold for one input of a model, or for each by name."""

from collections.abc import Callable
from typing import TypeVar

from ovms.config.scalars import as_json, explain
from ovms.config.strict_json import parse_option
from ovms.config.values import ONLY_INPUT
from ovms.errors import ConfigError

T = TypeVar("T")


def by_input(value: object, read: Callable[[object], T]) -> dict[str, T]:
    """Read a value for the only input, or an object (or its JSON text) with a value for each of several inputs.

    Raises what ``read`` raises, or ConfigError that names the input.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = parse_option(value)
    if not isinstance(value, dict):
        return {ONLY_INPUT: read(value)}
    if not value:
        raise ConfigError("{} names no input")
    return {_input_name(name): _read(name, item, read) for name, item in value.items()}


def _input_name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{as_json(name)} is not the name of an input: UTF-8 cannot spell it") from None
    if not name.strip():
        raise ConfigError("the name of an input must not be empty")
    return name


def _read(name: str, item: object, read: Callable[[object], T]) -> T:
    try:
        return read(item)
    except ConfigError as error:
        raise ConfigError(f"input {as_json(name)}: {explain(error, item, as_json)}") from None
