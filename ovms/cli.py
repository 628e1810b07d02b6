"""The command line: arguments and environment become a ServerConfig; mistakes become one line and an exit code."""

import importlib.metadata
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ovms import __version__, logs
from ovms.config import ServerConfig
from ovms.config.assemble import cpu_extension, server_config, the_model
from ovms.config.command_line import EXIT_USAGE, make_parser, options_of
from ovms.config.environment import SERIALIZATION_FUNCTIONS, seen_variables, serialization, unknown_variables
from ovms.config.file import read_config
from ovms.config.implied import with_command
from ovms.config.options import MODEL_NAME, MODEL_OPTIONS, MODEL_PATH
from ovms.config.settings import Settings
from ovms.core.harness import describe
from ovms.core.manager import LOAD_THREADS, UNLOAD_THREADS
from ovms.errors import ConfigError, ServingError

EXIT_FATAL = 1
EXIT_INTERRUPTED = 130
EXIT_SIGNALLED = 128

logger = logging.getLogger(__name__)


def run() -> NoReturn:
    """What the ``ovms`` and ``ie_serving`` commands call: ``main`` with the process's own arguments."""
    if os.getpid() == 1:  # in a container: the kernel drops signals that its first process has no handler for
        signal.signal(signal.SIGTERM, _terminate)
    code = main(sys.argv[1:])
    if any(_holds_up_exit(thread) for thread in threading.enumerate()):
        # An ordinary exit would wait for a request or a load that was cut off. All is said: nothing gets lost.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _terminate(number: int, frame: object) -> NoReturn:
    """What a signal does to a process as long as nothing is served."""
    sys.exit(EXIT_SIGNALLED + number)


def _holds_up_exit(thread: threading.Thread) -> bool:
    """Also a daemon of an executor: those are joined at exit, whatever they are."""
    ordinary = not thread.daemon and thread is not threading.main_thread()
    return ordinary or thread.name.startswith((LOAD_THREADS, UNLOAD_THREADS))


def main(argv: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    called = Path(sys.argv[0]).name
    program = called if called in ("ovms", "ie_serving") else "ovms"
    try:
        words = with_command(argv, os.environ)
        arguments = vars(make_parser(program, _versions(), os.environ).parse_args(words))
        settings = Settings(options_of(arguments["command"]), arguments, os.environ)
        checks_file = arguments["command"] == "check" and _checks_a_file(settings, arguments["usage_error"])
    except SystemExit as leaving:  # --help, --version, or usage that was complained about
        return leaving.code if isinstance(leaving.code, int) else EXIT_USAGE
    except ConfigError as error:
        return _fatal(error.message)
    try:
        if arguments["command"] == "ready":
            return _ready(settings, os.environ)
        _start_logging(settings, os.environ)
        if arguments["command"] == "check":
            return _check(settings, checks_file)
        return _serve(_configuration(arguments["command"], settings, os.environ))
    except ServingError as error:
        return _fatal(error.message)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        logger.debug("The error that ends the server", exc_info=True)
        return _fatal(describe(error))


def _configuration(command: str, settings: Settings, environment: Mapping[str, str]) -> ServerConfig:
    logger.debug("Serialization function: %s", SERIALIZATION_FUNCTIONS[serialization(environment)])
    if command == "model":
        return server_config(settings, [the_model(settings, logger.warning)], environment)
    for option in MODEL_OPTIONS:
        if environment.get(option.variable):
            logger.warning("%s has no effect: models have their options in the configuration file", option.variable)
    path = settings["config_path"]
    return server_config(settings, read_config(path), environment, path)


def _serve(config: ServerConfig) -> int:
    from ovms.server import serve  # loads OpenVINO, which usage errors and --help need not wait for

    return serve(config)


def _checks_a_file(settings: Settings, usage_error: Callable[[str], NoReturn]) -> bool:
    """Whether it is a file that is to be checked, else it is a model; wrong usage is complained about."""
    file, model = settings.place("config_path"), [settings.place("model_name"), settings.place("model_path")]
    is_file, is_model = file is not None, any(model)
    if is_file and is_model:  # what the command line says goes first
        is_file, is_model = (any(place and place.startswith("--") for place in places) for places in ([file], model))
        if is_file == is_model:
            usage_error("--config_path and --model_name or --model_path: expected only one of a file and a model")
    if is_model:
        if absent := [option.flag for option in (MODEL_NAME, MODEL_PATH) if settings.place(option.name) is None]:
            usage_error(f"the following arguments are required: {', '.join(absent)}")
    elif not is_file:
        usage_error("one of these is required: --config_path, or --model_name and --model_path")
    elif useless := [option.flag for option in MODEL_OPTIONS if settings.place(option.name) == option.flag]:
        usage_error(f"{', '.join(useless)}: without effect beside --config_path, in which models have their options")
    return is_file


def _check(settings: Settings, checks_file: bool) -> int:
    from ovms.check import Check

    check = Check(
        print,
        load=settings["load"],
        cpu_extension=cpu_extension(settings),
        model_cache=settings["model_cache"],
        model_cache_bytes=settings["model_cache_bytes"],
    )
    if checks_file:
        check.file(settings["config_path"])
    elif mistakes := settings.mistakes():
        for mistake in mistakes:
            check.error(mistake)
    else:
        check.models([the_model(settings, check.warning)])
    return EXIT_FATAL if check.errors else 0


def _ready(settings: Settings, environment: Mapping[str, str]) -> int:
    from ovms.ready import check_ready

    print(f"ready: {check_ready(settings, environment)}")
    return 0


def _start_logging(settings: Settings, environment: Mapping[str, str]) -> None:
    level, path, log_format = settings["log_level"], settings["log_path"], settings["log_format"]
    try:
        logs.set_up(level, path, log_format)
    except ConfigError as error:
        # The message blames the variable; the path may have come another way.
        raise ConfigError(error.message.replace("LOG_PATH", settings.place("log_path") or "LOG_PATH", 1)) from None
    logger.debug("ie_serving_py arguments: %s", settings.arguments())
    logger.debug("Configured environment variables: %s", seen_variables(environment))
    for variable in unknown_variables(environment):
        logger.warning("%s is set, but there is no such option", variable)
    logger.info("Log level set: %s", level)


def _fatal(message: str) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return EXIT_FATAL


def _versions() -> str:
    try:
        openvino = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        openvino = "not installed"
    return f"ovms {__version__} (OpenVINO {openvino})"
