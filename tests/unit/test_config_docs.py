"""The page about the configuration has every option, with its variable and its default."""

import re
from pathlib import Path

import pytest

from ovms.cli import main
from ovms.config.command_line import COMMANDS
from ovms.config.environment import ALL_OPTIONS, ANCESTORS
from ovms.config.file import inspect_config
from ovms.config.options import Option

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROWS = {found[1]: found[0] for found in re.finditer(r"^\| `--(\w+)`.*$", PAGE, re.MULTILINE)}


@pytest.mark.parametrize("option", ALL_OPTIONS, ids=lambda option: option.name)
def test_every_option_has_a_row(option: Option) -> None:
    cells = [cell.strip() for cell in ROWS[option.name].strip("|").split(" | ")]
    assert cells[1] == f"`{option.variable}`"
    assert len(cells) == 4
    if option.switch:
        assert cells[2] == "off"
    elif isinstance(option.default, int | float | str):
        expected = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
        assert cells[2].strip("`") == expected


def test_every_row_is_an_option() -> None:
    assert set(ROWS) == {option.name for option in ALL_OPTIONS}


def test_the_ancestors_variables() -> None:
    for name, variable in ANCESTORS.items():
        assert f"| `{variable}` | `--{name}` |" in PAGE


def test_the_example_is_a_good_file(tmp_path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example
    (tmp_path / "ovms.json").write_text(example[1])
    found = inspect_config(str(tmp_path / "ovms.json"))
    assert (found.errors, found.warnings) == ((), ())
    assert [model.name for model in found.models] == ["resnet", "faces"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    for _, options in COMMANDS[command][1]:
        for option in options:
            assert option.flag in printed
