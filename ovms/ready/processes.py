"""The servers that run here, and the options they were started with, as the kernel tells them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ovms.config.command_line import make_parser, options_of
from ovms.config.implied import with_command
from ovms.config.settings import Settings
from ovms.errors import ConfigError

PROCESSES: Final = Path("/proc")
PROGRAMS: Final = ("ovms", "ie_serving")
SERVING: Final = ("model", "config")
_OPTIONS_WITH_VALUE: Final = ("-X", "-W")  # of the Python interpreter


def running_servers(processes: Path = PROCESSES, *, environment: Mapping[str, str]) -> Iterator[tuple[Settings, Path]]:
    """The options of each server among the processes that this one sees, and the folder from which its paths count, the
    oldest first.

    ``environment`` is taken for that of a server whose own may not be read, as that of another user.
    """
    for number in sorted(int(entry.name) for entry in processes.iterdir() if entry.name.isdigit()):
        arguments = server_arguments(_words(processes / str(number) / "cmdline"))
        if arguments is None:
            continue
        variables = dict(word.split("=", 1) for word in _words(processes / str(number) / "environ") if "=" in word)
        settings = _settings(arguments, variables or environment)
        if settings is not None:
            yield settings, processes / str(number) / "cwd"


def server_arguments(command: Sequence[str]) -> list[str] | None:
    """The arguments of ovms in the command line of a process; None if it is another program."""
    if not command or not Path(command[0]).name.startswith("python"):
        return None
    before = command[0]
    for place, word in enumerate(command[1:], start=1):
        if (before == "-m" and word == "ovms") or (before != "-m" and Path(word).name in PROGRAMS):
            return list(command[place + 1 :])
        if not word.startswith("-") and before not in _OPTIONS_WITH_VALUE:
            return None  # this is what the interpreter runs
        before = word
    return None


def _settings(arguments: Sequence[str], variables: Mapping[str, str]) -> Settings | None:
    """None for a command that serves nothing."""
    try:
        words = with_command(arguments, variables)
        if not words or words[0] not in SERVING:
            return None
        parsed = vars(make_parser(PROGRAMS[0], "", variables).parse_args(words))
    except (SystemExit, ConfigError):  # it asks for help, or is about to end because of its options
        return None
    return Settings(options_of(words[0]), parsed, variables)


def _words(path: Path) -> list[str]:
    """The words of a file that separates them by zeros; none if it may not be read, or the process has gone."""
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except OSError:
        return []
    return text.rstrip("\0").split("\0") if text else []
