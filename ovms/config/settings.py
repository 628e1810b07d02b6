"""The value of every option: from the command line, else a variable, else the ancestor's variable, else the default."""

from collections.abc import Iterable, Mapping
from typing import Any

from ovms.config.environment import ancestors_value, variable_of
from ovms.config.options import Option
from ovms.config.scalars import as_text, explain
from ovms.config.secret import masked
from ovms.errors import ConfigError


class Settings:
    """The options of one command. A value is read when it is asked for; what is not in force is never looked at."""

    def __init__(self, options: Iterable[Option], arguments: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """``arguments`` holds what the command line gave, by option name: values, or text of structured options."""
        self._options = {option.name: option for option in options}
        self._arguments = arguments
        self._environment = environment
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The value of an option; ConfigError that names the option or the variable it was given by."""
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def _read(self, name: str) -> Any:
        option = self._options[name]
        place = self.place(name)
        if place is None:
            return option.default
        if place == option.flag:
            given = self._arguments[name]
            if not option.structured:
                return given  # the command line's parser has read it
        else:
            given = self._environment[place]
            if place != option.variable:
                given = ancestors_value(place, given)
        try:
            return option.from_text(given)
        except ConfigError as error:
            raise ConfigError(f"{place}: {explain(error, given, as_text)}") from None

    def place(self, name: str) -> str | None:
        """Where the option was given: ``--name`` or the name of a variable; None if it was not."""
        option = self._options[name]
        return option.flag if name in self._arguments else variable_of(option, self._environment)

    def mistakes(self) -> list[str]:
        """What is wrong with the options that were given, one line for each that is."""
        return [mistake for name in self._options if (mistake := self._mistake(name))]

    def _mistake(self, name: str) -> str | None:
        try:
            self[name]
        except ConfigError as error:
            return error.message
        return None

    def arguments(self) -> dict[str, object]:
        """What the command line gave, with nothing secret in it: for the log."""
        return {name: masked(name, self._arguments[name]) for name in self._options if name in self._arguments}
