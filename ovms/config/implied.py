"""The command of a command line that names none, as C++ OVMS has it: what is to be served tells which one is meant."""

from collections.abc import Mapping, Sequence

from ovms.config.environment import variable_of
from ovms.config.options import MODEL_NAME, MODEL_PATH
from ovms.config.server_options import CONFIG_PATH
from ovms.errors import ConfigError


def with_command(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """``argv``, with ``model`` or ``config`` before it if it begins with an option, or is empty and the variables name
    what to serve. The command line goes before the variables.

    ConfigError if variables name a file and a model, and nothing tells which is meant.
    """
    given = [argument.partition("=")[0] for argument in argv]
    if given and (not given[0].startswith("--") or given[0] in ("--help", "--version")):
        return list(argv)
    if CONFIG_PATH.flag in given:
        return ["config", *argv]
    if MODEL_NAME.flag in given or MODEL_PATH.flag in given:
        return ["model", *argv]
    file, *model = (variable_of(option, environment) for option in (CONFIG_PATH, MODEL_NAME, MODEL_PATH))
    if file and any(model):
        named = " and ".join(variable for variable in (file, *model) if variable)
        raise ConfigError(f"{named}: expected only one of a file and a model")
    if file:
        return ["config", *argv]
    return ["model", *argv] if argv or any(model) else []
