"""Command-line options that the example clients share, and the one line in which they fail.

Names and defaults are those of the example clients of the Python OpenVINO Model Server (2018-2020), where these make
sense. Nothing here needs a client library.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


class ExampleError(Exception):
    """What was asked for cannot be done; the message is one line for the person at the terminal."""


def add_grpc_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--grpc_address", default="localhost", help="host of the server (default: %(default)s)")
    parser.add_argument("--grpc_port", type=port, default=9000, help="its gRPC port (default: %(default)s)")


def add_rest_options(parser: argparse.ArgumentParser) -> None:
    url = "scheme and host of the server (default: %(default)s)"
    parser.add_argument("--rest_url", default="http://localhost", help=url)
    parser.add_argument("--rest_port", type=port, default=5555, help="its REST port (default: %(default)s)")


def add_model_options(parser: argparse.ArgumentParser, version: bool = True) -> None:
    parser.add_argument("--model_name", default="resnet", help="name of the served model (default: %(default)s)")
    if version:
        help_text = "version of the model (default: the server's choice)"
        parser.add_argument("--model_version", type=number_from(1), help=help_text)


def port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{number} is not a port: expected 1 to 65535")
    return number


def number_from(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number, `least` or more."""

    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    whole.__name__ = "number"  # what argparse calls it in its messages
    return whole


def grpc_target(options: argparse.Namespace) -> str:
    return f"{options.grpc_address}:{options.grpc_port}"


def rest_base(options: argparse.Namespace) -> str:
    return f"{options.rest_url.rstrip('/')}:{options.rest_port}"


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ExampleError(f"{path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What went wrong, without the number and the path that OSError puts around it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def run(main: Callable[[], int | None], *failures: type[Exception]) -> None:
    """Run a script's `main` and exit with the code it returns.

    `ExampleError` and `failures` are one line on stderr and exit code 1; Ctrl-C is exit code 130.
    """
    # gRPC would send even local calls through an HTTP proxy; it reads the lower-case name.
    os.environ.setdefault("no_grpc_proxy", "localhost,127.0.0.1")
    try:
        sys.exit(main())
    except (ExampleError, *failures) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
