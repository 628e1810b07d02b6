"""The configuration file: many models in one JSON object."""

import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ovms.config.locations import parse_location
from ovms.config.model import build_model
from ovms.config.options import MODEL_OPTIONS, Reader
from ovms.config.scalars import as_json, explain, kind, name, path
from ovms.config.strict_json import Finding, below, parse
from ovms.config.values import ModelConfig
from ovms.errors import ConfigError, clean

LARGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes."""

_LIST: Final = "model_config_list"
_ENTRY: Final = '{"config": {"name": ..., "base_path": ...}}'
_REQUIRED: Final[Mapping[str, Reader]] = {"name": name, "base_path": path}
_OPTIONAL: Final[Mapping[str, Reader]] = {
    option.name: option.from_json for option in MODEL_OPTIONS if option.from_json is not None
} | {"cpu_extension": path}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfigFile:
    """All that was found in a configuration file."""

    models: tuple[ModelConfig, ...] = ()
    """The models of which nothing is wrong, in the file's order."""

    errors: tuple[str, ...] = ()
    """What is wrong, one line each, with the file and the place. One is enough to make the file unusable."""

    warnings: tuple[str, ...] = ()
    """What has no effect, one line each."""

    def checked(self) -> tuple[ModelConfig, ...]:
        """The models; ConfigError with the first of the errors if there is one."""
        if self.errors:
            raise ConfigError(self.errors[0])
        return self.models


def read_config(file: str) -> tuple[ModelConfig, ...]:
    """Read the models from a configuration file, and log what it holds without effect.

    Raises ConfigError for the first mistake: the file, the place in it, and what was expected there.
    """
    found = inspect_config(file)
    for warning in found.warnings:
        logger.warning("%s", warning)
    return found.checked()


def inspect_config(file: str) -> ConfigFile:
    """Read a configuration file and return all that is in it and all that is wrong with it; raises nothing for that."""
    try:
        document, findings = parse(_text(file), always_line=True)
    except ConfigError as error:
        return ConfigFile(errors=(clean(f"{file}: {error.message}"),))
    reading = _Reading(os.path.dirname(os.path.abspath(file)))
    reading.errors.extend(findings)
    reading.document(document)
    return ConfigFile(
        models=tuple(reading.models),
        errors=tuple(clean(f"{file}: {finding}") for finding in reading.errors),
        warnings=tuple(
            clean(f"{file}: {warning}" if isinstance(warning, Finding) else warning) for warning in reading.warnings
        ),
    )


def _text(file: str) -> str:
    try:
        # Asked first, because opening a pipe would wait for whoever writes to it.
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ConfigError("not a regular file; expected a JSON file")
        with open(file, "rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"larger than {LARGEST_FILE // 1024**2} MiB, which no configuration is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start]
        raise ConfigError(f"not UTF-8: byte 0x{wrong:02x} at line {line}, offset {error.start}") from None


class _Reading:
    """One pass through a document, which collects what it finds."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._places: dict[str, str] = {}
        self.models: list[ModelConfig] = []
        self.errors: list[Finding] = []
        self.warnings: list[Finding | str] = []

    def document(self, document: object) -> None:
        if not isinstance(document, dict):
            self._wrong("", f'expected an object with "{_LIST}", not {kind(document)}')
            return
        self._unknown_keys("", document, (_LIST,))
        entries = document.get(_LIST)
        if _LIST not in document:
            self._wrong("", f'"{_LIST}" is missing; expected a list of {_ENTRY}')
        elif not isinstance(entries, list):
            self._wrong(below("", _LIST), f"expected a list of {_ENTRY}, not {kind(entries)}")
        else:
            for index, entry in enumerate(entries):
                self._entry(below("", _LIST, index), entry)

    def _entry(self, pointer: str, entry: object) -> None:
        if not isinstance(entry, dict):
            self._wrong(pointer, f"expected {_ENTRY}, not {kind(entry)}")
            return
        self._unknown_keys(pointer, entry, ("config",))
        config = entry.get("config")
        if "config" not in entry:
            self._wrong(pointer, f'"config" is missing; expected {_ENTRY}')
        elif not isinstance(config, dict):
            self._wrong(below(pointer, "config"), f"expected an object with the model's options, not {kind(config)}")
        else:
            self._model(below(pointer, "config"), config)

    def _model(self, pointer: str, config: Mapping[str, object]) -> None:
        before = len(self.errors)
        self._unknown_keys(pointer, config, (*_REQUIRED, *_OPTIONAL))
        for key in _REQUIRED:
            if key not in config:
                self._wrong(pointer, f'"{key}" is missing')
        readers = {**_REQUIRED, **_OPTIONAL}
        given: dict[str, Any] = {}
        for key, value in config.items():
            if key not in readers:
                continue
            try:
                given[key] = readers[key](value)
            except ConfigError as error:
                self._wrong(below(pointer, key), explain(error, value, as_json))
        try:
            parse_location(given.get("base_path", ""))
        except ConfigError as error:
            self._wrong(below(pointer, "base_path"), error.message)
        if "name" in given:
            self._unique(below(pointer, "name"), given["name"])
        if len(self.errors) > before:
            return
        extension = given.get("cpu_extension")
        self.models.append(
            build_model(
                given["name"],
                self._located(given["base_path"]),
                given,
                self.warnings.append,
                None if extension is None else self._located(extension),
            )
        )

    def _unique(self, pointer: str, model: str) -> None:
        first = self._places.setdefault(model, pointer)
        if first != pointer:
            self._wrong(pointer, f"{as_json(model)} is the name of another model too, at {first}; expected another one")

    def _located(self, place: str) -> str:
        """A relative path counts from the file's own folder, so that it means the same wherever a server starts."""
        return place if "://" in place else os.path.join(self._folder, place)

    def _unknown_keys(self, pointer: str, given: Mapping[str, object], known: tuple[str, ...]) -> None:
        for key in given:
            if key not in known:
                self.warnings.append(Finding(below(pointer, key), f"unknown key {as_json(key)}, which has no effect"))

    def _wrong(self, pointer: str, message: str) -> None:
        self.errors.append(Finding(pointer, message))
