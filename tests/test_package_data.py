"""What an installation has besides Python and its extensions: the files of the status page."""

import os
from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.command.egg_info import FileList

ROOT = Path(__file__).parents[1]
STATIC = {f"ovms/api/static/{path.name}" for path in (ROOT / "ovms" / "api" / "static").iterdir()}


def test_a_wheel_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    found = {os.path.join(source, name) for _, source, _, names in command.data_files for name in names}
    assert len(STATIC) > 5
    assert found >= STATIC


def test_a_source_distribution_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = FileList()
    for line in Path("MANIFEST.in").read_text().splitlines():
        if line and not line.startswith("#"):
            found.process_template_line(line)
    assert set(found.files) >= STATIC
