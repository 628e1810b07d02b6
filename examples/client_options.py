"""Command-line options that the example clients share, and the one line in which they fail.

Names and defaults are those of the example clients of the Python OpenVINO Model Server (2018-2020), where these make
sense. Nothing here needs a client library.
"""

import argparse
import ipaddress
import os
import ssl
import sys
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

LOCAL = "localhost,127.0.0.1,::1"
"""Names of this machine."""
LONGEST_SIDE = 16_384
"""Pixels of a picture that can still be sent: 768 MiB, of a request's 1 GiB."""
LARGEST_REQUEST = 1 << 30
"""Bytes; what gRPC and the server let through."""


class ExampleError(Exception):
    """What was asked for cannot be done; the message is one line for the person at the terminal."""


def add_grpc_options(parser: argparse.ArgumentParser) -> None:
    address = "host of the server (default: %(default)s)"
    parser.add_argument("--grpc_address", type=host, default="localhost", help=address)
    parser.add_argument("--grpc_port", type=port, default=9000, help="its gRPC port (default: %(default)s)")
    add_tls_option(parser)


def add_rest_options(parser: argparse.ArgumentParser) -> None:
    help_text = "scheme and host of the server (default: %(default)s)"
    parser.add_argument("--rest_url", type=url, default="http://localhost", help=help_text)
    parser.add_argument("--rest_port", type=port, default=5555, help="its REST port (default: %(default)s)")
    help_text = "PEM file of the CA of an https:// server's certificate (default: the system's)"
    parser.add_argument("--tls_ca_file", type=Path, help=help_text)


def add_tls_option(parser: argparse.ArgumentParser) -> None:
    """Of clients for gRPC."""
    help_text = "PEM file of the CA of the server's certificate, for a server with TLS (default: no TLS)"
    parser.add_argument("--tls_ca_file", type=Path, help=help_text)


def add_model_options(parser: argparse.ArgumentParser, version: bool = True) -> None:
    parser.add_argument("--model_name", default="resnet", help="name of the served model (default: %(default)s)")
    if version:
        help_text = "version of the model (default: the server's choice)"
        parser.add_argument("--model_version", type=number_from(1), help=help_text)


def host(text: str) -> str:
    """The type of an option that is a host's name or address; one of IPv6 gets the brackets that a port needs."""
    try:
        return f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        pass
    if not text or any(sign in "/:[]" or sign.isspace() for sign in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host: expected a name or an address, without a port")
    return text


def url(text: str) -> str:
    """The type of an option that is a scheme and a host; the port is another option."""
    scheme, _, place = text.partition("://")
    if scheme.lower() not in ("http", "https"):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return f"{scheme.lower()}://{host(place.rstrip('/'))}"


def port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{number} is not a port: expected 1 to 65535")
    return number


def number_from(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number, `least` or more, and `most` or less."""

    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"{number} is more than {most}")
        return number

    whole.__name__ = "number"  # what argparse calls it in its messages
    return whole


def grpc_target(options: argparse.Namespace) -> str:
    return f"{options.grpc_address}:{options.grpc_port}"


def rest_base(options: argparse.Namespace) -> str:
    return f"{options.rest_url}:{options.rest_port}"


@cache
def trusted(path: Path) -> ssl.SSLContext:
    """A context that trusts the CAs in a PEM file, of which there must be one."""
    try:
        return ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as error:
        raise ExampleError(f"{path}: no certificate in PEM") from error
    except OSError as error:
        raise ExampleError(f"{path}: {reason(error)}") from error


def choose_name(model: str, inputs: Collection[str], name: str | None) -> str:
    """The input of that name, or the only one."""
    if name is None and len(inputs) == 1:
        return next(iter(inputs))
    if name is None or name not in inputs:
        problem = "takes several inputs: choose one" if name is None else f"has no input {name!r}"
        raise ExampleError(f"model {model!r} {problem}; its inputs: {', '.join(sorted(inputs))}")
    return name


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ExampleError(f"{path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What went wrong, without the number and the path that OSError puts around it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def ask_directly() -> None:
    """Leave servers on this machine out of what goes through an HTTP proxy, with those that are left out already.

    gRPC and urllib would ask the proxy for them, too. gRPC reads the lower-case names.
    """
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if others != "*":
        os.environ["no_proxy"] = f"{others},{LOCAL}" if others else LOCAL


def run(main: Callable[[], int | None]) -> None:
    """Run a script's `main` and exit with the code it returns.

    An `ExampleError` is one line on stderr and exit code 1; Ctrl-C is exit code 130.
    """
    ask_directly()
    try:
        sys.exit(main())
    except ExampleError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except MemoryError:
        sys.exit("error: there is not enough memory for this")
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
