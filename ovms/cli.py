"""The command line: arguments and environment become a ServerConfig; mistakes become one line and an exit code."""

import argparse
import importlib.metadata
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ovms import __version__, logs
from ovms.config import (
    GrpcConfig,
    ModelConfig,
    Serialization,
    ServerConfig,
    default_grpc_workers,
    parse_plugin_config,
)
from ovms.core.harness import describe
from ovms.core.version_policy import parse_policy
from ovms.errors import ConfigError, ServingError

EXIT_FATAL = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

DESCRIPTION = """\
Serves a model through OpenVINO to any client of the TensorFlow Serving gRPC API."""

EXAMPLE = """\
a worked example:
  1. Put the model into a folder that is named by its version:
       /models/resnet/1/model.xml
       /models/resnet/1/model.bin
  2. Start the server:
       ovms model --model_name resnet --model_path /models/resnet --port 9000
  3. Wait for the line "gRPC server listens on port 9000", then ask for the model "resnet"
     at localhost:9000.

environment:
  LOG_LEVEL               DEBUG, INFO (the default) or ERROR
  LOG_PATH                a file that gets every log line, besides stderr
  SERIALIZATION_FUNCTION  _prepare_output_as_AppendArrayToTensorProto returns outputs as
                          typed lists, which is slower; anything else as raw bytes

exit status: 0 stopped on request, 1 the server could not start or go on, 2 wrong usage"""

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run() -> NoReturn:
    """What the ``ovms`` and ``ie_serving`` commands call: ``main`` with the process's own arguments."""
    code = main(sys.argv[1:])
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        # An ordinary exit would wait for a request or a load that was cut off. All is said: nothing gets lost.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as leaving:  # --help, --version, or usage that was complained about
        return leaving.code if isinstance(leaving.code, int) else EXIT_USAGE
    try:
        logs.set_up(*_logging(os.environ))
        config = _server_config(arguments, os.environ)
        logger.info("Log level set: %s", config.log_level)
        return _serve(config)
    except ServingError as error:
        return _fatal(error.message)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        logger.debug("The error that ends the server", exc_info=True)
        return _fatal(describe(error))


def _serve(config: ServerConfig) -> int:
    from ovms.server import serve  # loads OpenVINO, which usage errors and --help need not wait for

    return serve(config)


def _fatal(message: str) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return EXIT_FATAL


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that complains in one line. Options cannot be abbreviated: a later one might clash."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error: {' '.join(message.split())} (see '{self.prog} --help')\n")


def _parser() -> argparse.ArgumentParser:
    called = Path(sys.argv[0]).name
    program = called if called in ("ovms", "ie_serving") else "ovms"
    parser = _Parser(prog=program, description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument("--version", action="version", version=_versions(), help="print the versions and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    hint = f"serve one model; all its options: {program} model --help"
    model = commands.add_parser("model", help=hint, description=DESCRIPTION, epilog=EXAMPLE)
    _add_model_options(model.add_argument_group("the model"))
    _add_server_options(model.add_argument_group("the server"))
    return parser


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model_name", required=True, type=_text, metavar="NAME", help="the name clients ask for")
    add(
        "--model_path", required=True, type=_text, metavar="PATH",
        help="folder with one numbered folder per version, or one model file "
        "(.xml, .onnx, .tflite, .pdmodel, .pb), which is served as version 1",
    )  # fmt: skip
    add(
        "--model_version_policy", default='{"latest": {"num_versions": 1}}', metavar="JSON",
        help='which versions to serve: {"latest": {"num_versions": 1}} (the default), '
        '{"specific": {"versions": [1, 3]}} or {"all": {}}',
    )  # fmt: skip
    add(
        "--nireq", type=_count(0), default=0, metavar="N",
        help="infer requests per version, that is how many requests it computes at once; "
        "0 (the default) lets the device choose",
    )  # fmt: skip
    add(
        "--target_device", type=_text, default="CPU", metavar="DEVICE",
        help="OpenVINO device: CPU (the default), GPU, AUTO, MULTI:GPU,CPU, ...",
    )  # fmt: skip
    add(
        "--plugin_config", default="{}", metavar="JSON",
        help='OpenVINO properties for the device, such as {"NUM_STREAMS": 2, "INFERENCE_NUM_THREADS": 4}',
    )  # fmt: skip


def _add_server_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--port", type=_port, default=GrpcConfig.port, help="gRPC port (default %(default)d); 0 takes any free one")
    add(
        "--grpc_bind_address", type=_text, default=GrpcConfig.bind_address, metavar="ADDRESS",
        help="address to listen on (default %(default)s, which is every IPv4 and IPv6 address)",
    )  # fmt: skip
    add(
        "--grpc_workers", type=_count(1), metavar="N",
        help="threads for gRPC requests; each waits for an infer request and its result, so fewer than --nireq "
        "leave some idle (default: two per core, at least 4 and at least --nireq)",
    )  # fmt: skip
    add("--rest_port", type=int, default=0, metavar="PORT", help="only 0: this version has no REST")
    add("--rest_workers", type=_count(1), default=1, metavar="N", help="accepted, without effect: there is no REST")
    add(
        "--strict_dtypes", action="store_true",
        help="refuse inputs of another dtype than the model's, instead of converting them",
    )  # fmt: skip
    add(
        "--drain_seconds", type=_seconds, default=ServerConfig.drain_seconds, metavar="S",
        help="how long requests under way may go on when the server is told to stop (default %(default)g)",
    )  # fmt: skip


def _server_config(arguments: argparse.Namespace, environment: Mapping[str, str]) -> ServerConfig:
    if arguments.rest_port > 0:
        raise ConfigError("--rest_port: this version has no REST, only gRPC; leave the option out or set it to 0")
    model = ModelConfig(
        name=arguments.model_name,
        base_path=arguments.model_path,
        version_policy=_from_json("--model_version_policy", arguments.model_version_policy, parse_policy),
        nireq=arguments.nireq,
        target_device=arguments.target_device,
        plugin_config=_from_json("--plugin_config", arguments.plugin_config, parse_plugin_config),
    )
    grpc = GrpcConfig(
        port=arguments.port,
        bind_address=arguments.grpc_bind_address,
        workers=arguments.grpc_workers or default_grpc_workers(model.nireq),
    )
    log_level, log_path = _logging(environment)
    return ServerConfig(
        models=(model,),
        grpc=grpc,
        strict_dtypes=arguments.strict_dtypes,
        serialization=_serialization(environment),
        drain_seconds=arguments.drain_seconds,
        log_level=log_level,
        log_path=log_path,
    )


def _from_json(option: str, text: str, read: Callable[[object], T]) -> T:
    try:
        return read(json.loads(text))
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        where = f"{error.msg.removesuffix(' at')} at {line}column {error.colno}"
        raise ConfigError(f"{option}: not valid JSON: {where}") from None
    except ConfigError as error:
        raise ConfigError(f"{option}: {error.message}") from None


def _logging(environment: Mapping[str, str]) -> tuple[str, str | None]:
    return logs.level_name(environment.get("LOG_LEVEL")), environment.get("LOG_PATH") or None


def _serialization(environment: Mapping[str, str]) -> Serialization:
    chosen = environment.get("SERIALIZATION_FUNCTION")
    return "append_array" if chosen == "_prepare_output_as_AppendArrayToTensorProto" else "make_tensor_proto"


def _versions() -> str:
    try:
        openvino = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        openvino = "not installed"
    return f"ovms {__version__} (OpenVINO {openvino})"


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 0 to 65535")
    return int(text)


def _count(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return int(text)

    return whole_number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return seconds
