"""docs/parameters.md is what its tool prints, and the tool knows every option; the examples of files are good ones."""

import json
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks, text_of

from ovms.cli import main
from ovms.config.command_line import COMMANDS
from ovms.config.environment import ALL_OPTIONS, ANCESTORS
from ovms.config.file import inspect_config

PAGE = ROOT / "docs" / "parameters.md"
FILES = [
    block
    for page in PAGES
    for block in blocks(page)
    if block.language == "json" and block.text.lstrip().startswith("{") and "model_config_list" in block.text
]


def test_the_page_is_what_the_tool_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import parameters_page

    assert text_of(PAGE) == parameters_page.page(), "make docs writes it anew"
    sys.modules.pop("parameters_page")


def test_every_option_and_variable_is_there() -> None:
    rows = [line for line in text_of(PAGE).splitlines() if line.startswith("| `--")]
    assert [row.split("`")[1] for row in rows] == list(dict.fromkeys(row.split("`")[1] for row in rows))
    for option in ALL_OPTIONS:
        assert any(row.startswith(f"| `{option.flag}` |") and f"`{option.variable}`" in row for row in rows), option
    assert len(rows) == len(ALL_OPTIONS)
    for name, variable in ANCESTORS.items():
        assert any(row.startswith(f"| `--{name}` |") and f"`{variable}`" in row for row in rows), variable


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for _, options in COMMANDS[command].groups:
        for option in options:
            assert option.flag in printed
            if option.default_text and not option.switch:
                assert f"(default: {option.default_text})" in printed


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.where)
def test_examples_of_files_are_good_ones(block: Block, tmp_path: Path) -> None:
    (tmp_path / "ovms.json").write_text(block.text)
    found = inspect_config(str(tmp_path / "ovms.json"))
    assert (found.errors, found.warnings) == ((), ())
    assert len(found.models) == len(json.loads(block.text)["model_config_list"]) > 0


def test_there_are_examples() -> None:
    assert {"docs/configuration.md", "docs/shapes.md", "docs/migration.md"} <= {block.page for block in FILES}
