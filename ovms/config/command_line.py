"""The parser of the command line, made from the tables of options."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from ovms.config.environment import variable_of
from ovms.config.options import MODEL_NAME, MODEL_OPTIONS, MODEL_PATH, Option
from ovms.config.scalars import as_text, explain
from ovms.config.server_options import CHECK_OPTIONS, CONFIG_PATH, READY_OPTIONS, SERVER_GROUPS
from ovms.errors import ConfigError

EXIT_USAGE: Final = 2

DESCRIPTION: Final = """\
Serves models through OpenVINO to any client of the TensorFlow Serving API, gRPC and REST."""

ONE_MODEL: Final = """\
a worked example:
  1. Put the model into a folder that is named by its version:
       /models/resnet/1/model.xml
       /models/resnet/1/model.bin
  2. Start the server:
       ovms model --model_name resnet --model_path /models/resnet --port 9000 --rest_port 8000
  3. Wait for the line "gRPC server listens on port 9000", then ask for the model "resnet"
     at localhost:9000, or: curl localhost:8000/v1/models/resnet/metadata"""

SEVERAL_MODELS: Final = """\
several models, in a file /models/config.json:
  {"model_config_list": [
    {"config": {"name": "resnet", "base_path": "/models/resnet", "nireq": 4}},
    {"config": {"name": "face", "base_path": "/models/face", "shape": "(-1,3,300,300)"}}]}
  ovms check --config_path /models/config.json
  ovms config --config_path /models/config.json --port 9000"""

ENVIRONMENT: Final = """\
environment:
  OVMS_<OPTION>           any option, such as OVMS_PORT; the command line goes first
  LOG_LEVEL               --log_level
  LOG_PATH                --log_path
  FILE_SYSTEM_POLL_WAIT_SECONDS
                          --file_system_poll_wait_seconds
  CPU_EXTENSION           --cpu_extension
  SERIALIZATION_FUNCTION  _prepare_output_as_AppendArrayToTensorProto returns outputs as
                          typed lists, which is slower; anything else as raw bytes"""

NO_COMMAND: Final = "Without a command, ovms serves what --config_path, or --model_name and --model_path, name."

SERVER_STATUS: Final = "exit code: 0 stopped on request, 1 the server could not start or go on, 2 wrong usage"
CHECK_STATUS: Final = "exit code: 0 all is well, or there are warnings only, 1 there is an error, 2 wrong usage"
READY_STATUS: Final = "exit code: 0 it is ready, 1 it is not, or cannot be asked, 2 wrong usage"

EPILOG: Final = (ONE_MODEL, SEVERAL_MODELS, ENVIRONMENT, NO_COMMAND, SERVER_STATUS)

MODEL: Final = (MODEL_NAME, MODEL_PATH, *MODEL_OPTIONS)

Groups = tuple[tuple[str, tuple[Option, ...]], ...]


class Command(NamedTuple):
    """One command of the command line."""

    purpose: str
    groups: Groups
    """Titles and their options."""

    required: tuple[Option, ...]
    """The options that it cannot do without."""

    epilog: tuple[str, ...]
    """What its help ends with."""


SERVER: Final[Groups] = tuple(SERVER_GROUPS.items())

COMMANDS: Final[Mapping[str, Command]] = {
    "model": Command(
        "serve one model", (("the model", MODEL), *SERVER), (MODEL_NAME, MODEL_PATH),
        (ONE_MODEL, ENVIRONMENT, SERVER_STATUS),
    ),
    "config": Command(
        "serve the models of a file", (("the models", (CONFIG_PATH,)), *SERVER), (CONFIG_PATH,),
        (SEVERAL_MODELS, ENVIRONMENT, SERVER_STATUS),
    ),
    "check": Command(
        "say what is wrong with a file or a model, without serving it",
        (("what to check", (CONFIG_PATH, *CHECK_OPTIONS)), ("a model", MODEL)), (),
        (SEVERAL_MODELS, ENVIRONMENT, CHECK_STATUS),
    ),
    "ready": Command(
        "say whether the server that runs here is ready",
        (("where to ask, if not the only server", READY_OPTIONS),), (), (READY_STATUS,),
    ),
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that complains in one line. Options cannot be abbreviated: a later one might clash."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Leave with one line on stderr."""
        self.exit(EXIT_USAGE, f"error: {' '.join(message.split())} (see '{self.prog} --help')\n")


def options_of(command: str) -> tuple[Option, ...]:
    """The options of a command."""
    return tuple(option for _, options in COMMANDS[command].groups for option in options)


def make_parser(program: str, version: str, environment: Mapping[str, str]) -> Parser:
    """The parser of all commands; an option that the environment gives is not required.

    What it returns has the options that were given and no others, besides ``command`` and ``usage_error``, which is
    the ``error`` of the command's own parser.
    """
    parser = Parser(prog=program, description=DESCRIPTION, epilog="\n\n".join(EPILOG))
    parser.add_argument("--version", action="version", version=version, help="print the versions and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for name, command in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=f"{command.purpose}; all its options: {program} {name} --help",
            description=f"{command.purpose[0].upper()}{command.purpose[1:]}.",
            epilog="\n\n".join(command.epilog),
        )
        added.set_defaults(usage_error=added.error)
        missing = {option.name for option in command.required if variable_of(option, environment) is None}
        for title, options in command.groups:
            _add(added.add_argument_group(title), options, missing)
    return parser


def _add(group: argparse._ArgumentGroup, options: Iterable[Option], missing: set[str]) -> None:
    for option in options:
        arguments: dict[str, Any] = {"nargs": "?", "const": True} if option.switch else {}
        group.add_argument(
            option.flag,
            type=str if option.structured else _reader(option),
            required=option.name in missing,
            default=argparse.SUPPRESS,
            metavar=option.metavar,
            help=option.full_help.replace("%", "%%"),
            **arguments,
        )


def _reader(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.from_text(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(explain(error, text, as_text)) from None

    return read
