"""Writes docs/parameters.md from the tables of options: `python tools/parameters_page.py`, or `make docs`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ovms.config.command_line import COMMANDS, MODEL
from ovms.config.environment import ANCESTORS, SERIALIZATION, SERIALIZATION_FUNCTIONS
from ovms.config.options import Option
from ovms.config.scalars import UnfitError
from ovms.config.server_options import CONFIG_PATH, CPU_EXTENSION, SERVER_GROUPS
from ovms.errors import ConfigError

PAGE: Final = Path(__file__).parents[1] / "docs" / "parameters.md"

HEAD: Final = """\
# Parameters

Every option, variable and key, as the code has them: `make docs` writes this page. [configuration.md](configuration.md)
tells where a value comes from, which of two places goes first, and what is said when one is wrong.

| command | what it does | cannot do without |
|---|---|---|
"""

KEYS: Final[Mapping[str, str]] = {"model_name": "name", "model_path": "base_path"}
"""Options whose key in the file has another name."""

WORDS: Final[Mapping[str, str]] = {
    "NAME": "text",
    "PATH": "path",
    "FILE": "path of a file",
    "FOLDER": "path of a folder",
    "ADDRESS": "addresses",
    "DEVICE": "text",
    "URL": "URL, or HOST:PORT",
    "LIST": "words with commas between",
    "N|auto": "whole number, or `auto`",
    "JSON": "JSON object",
    "SHAPE": "shape, or JSON by input",
    "LAYOUT": "layout, or JSON by input",
    "TYPE": "element type, or JSON by input",
    "COLORS": "colours, or JSON by input",
    "NUMBERS": "number, JSON list, or JSON by input",
}
"""What stands for an option's value in its help -> what that is."""

INTRODUCTIONS: Final[Mapping[str, str]] = {
    "gRPC": "[grpc_api.md](grpc_api.md) has the API, [configuration.md](configuration.md#grpc) the engines.",
    "REST": "[rest_api.md](rest_api.md) has the API, [configuration.md](configuration.md#rest) the engines.",
    "who is let in": "[security.md](security.md) tells about keys and limits.",
    "TLS": "[security.md](security.md#tls) tells how to use it.",
    "the serving of models": "[management.md](management.md) tells what the server does with versions, "
    "[storage.md](storage.md) about object stores.",
    "start and stop": "[management.md](management.md#stopping) tells how a server stops.",
}


def takes(option: Option) -> str:
    """What an option's value is: what its reader says that it expects, else what its help calls it."""
    if option.switch:
        return "switch"
    # Nothing is this text; whole numbers tell their upper end only of what is too large.
    expected = None if option.structured else _expected(option, "\0")
    if expected is None or expected.startswith(("text", "path")):
        return WORDS[option.metavar]
    if expected.startswith("whole number"):
        expected = _expected(option, str(10**40)) or expected
    for most in (2**31 - 1, 2**63 - 1):  # where the end is only that of the integers C++ has
        expected = expected.replace(f" to {most}", " or more")
    return expected


def _expected(option: Option, wrong: str) -> str | None:
    try:
        option.from_text(wrong)
    except UnfitError as error:
        return error.expected.removeprefix("a ").removeprefix("an ")
    except ConfigError:
        pass
    return None


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def with_flags(text: str) -> str:
    """The text, with its options written as such."""
    return re.sub(r"--\w+", r"`\g<0>`", text)


def default_of(option: Option) -> str:
    """What holds without the option."""
    if any(option in command.required for command in COMMANDS.values()):
        return "required"
    text = option.default_text
    if text is None:
        return "none"
    return with_flags(text) if option.otherwise and not text.startswith(("{", "0", "~")) else f"`{text}`"


def variables(option: Option) -> str:
    """The variables that give an option, its own first."""
    names = [option.variable, *([ANCESTORS[option.name]] if option.name in ANCESTORS else [])]
    return ", ".join(f"`{name}`" for name in names)


def table(options: Iterable[Option], *, keys: bool = False) -> str:
    """A table of options; with ``keys``, of what they are called in the file."""
    head = ["option", *(["key"] if keys else []), "variable", "type", "default", "what it does"]
    text = row(*head) + "|" + "---|" * len(head) + "\n"
    for option in options:
        key = [f"`{KEYS.get(option.name, option.name)}`"] if keys else []
        cells = (
            f"`{option.flag}`",
            *key,
            variables(option),
            takes(option),
            default_of(option),
            with_flags(option.help),
        )
        text += row(*cells)
    return text


def page() -> str:
    """The whole page."""
    text = HEAD
    for name, command in COMMANDS.items():
        text += row(
            f"`ovms {name}`", command.purpose, ", ".join(f"`{option.flag}`" for option in command.required) or "-"
        )
    text += f"""
## Options of a model

Of `ovms model` and `ovms check`, and keys of a `config` in the [configuration file](configuration.md#the-file). As a
key, JSON is written as it is instead of as text, numbers may be text, and a switch is `true` or `false`. Besides these
there is the key `{CPU_EXTENSION.name}`, of one model what `{CPU_EXTENSION.flag}` is of all.
[model_repository.md](model_repository.md) tells about paths and versions, [shapes.md](shapes.md) about shapes, layouts
and preprocessing, [management.md](management.md) about versions that change, [storage.md](storage.md) about object
stores.

"""
    text += table(MODEL, keys=True)
    text += f"""
The file itself is `{{"model_config_list": [{{"config": {{...}}}}, ...]}}`; it has no other keys.

## Options of the server

Of `ovms model` and `ovms config`.

### The file

{table((CONFIG_PATH,))}"""
    for title, options in SERVER_GROUPS.items():
        introduction = INTRODUCTIONS.get(title)
        text += f"\n### {title[0].upper() if title.islower() else title[0]}{title[1:]}\n\n" + (
            f"{introduction}\n\n" if introduction else ""
        )
        text += table(options)
    server = [option for options in SERVER_GROUPS.values() for option in options]
    for command in ("check", "ready"):
        options = tuple(option for _, group in COMMANDS[command].groups for option in group)
        own = [option for option in options if option not in (*server, *MODEL, CONFIG_PATH)]
        shared = [f"`{option.flag}`" for option in options if option in server]
        text += f"\n## Options of `ovms {command}`\n\n{table(own)}\n"
        text += f"Besides these, with the meaning they have for a server: {', '.join(shared)}"
        text += f", and `{CONFIG_PATH.flag}` or the options of a model.\n" if CONFIG_PATH in options else ".\n"
    return (
        text
        + f"""
## Variables of the ancestor

`ie_serving` had five of its own, which still work; the server's own goes first. Four stand in the tables above:
{", ".join(f"`{name}`" for name in ANCESTORS.values())}. Where `{ANCESTORS["log_level"]}` is no level,
INFO is meant, as ever.

| variable | value | what it does |
|---|---|---|
| `{SERIALIZATION}` | `{SERIALIZATION_FUNCTIONS["append_array"]}` | outputs are typed lists over gRPC, which is slower |
| | anything else, or unset | outputs are raw bytes where that is possible |

Object stores have variables of their own: [storage.md](storage.md).
"""
    )


if __name__ == "__main__":
    PAGE.write_text(page())
