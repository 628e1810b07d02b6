"""The audit of what an installation brings: of this one, and of made-up ones with something wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def install(
    folder: Path, name: str, version: str = "1.0", licence: str = "MIT", requires: tuple[str, ...] = ()
) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    lines += [f"License-Expression: {licence}"] if licence else []
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *lines, "", ""]))


def audit(folder: Path | None = None, *options: str) -> tuple[int, str]:
    """Exit code and output; of what is installed in a folder, or of this environment."""
    environment = {"PYTHONPATH": str(folder)} if folder else {}
    chosen = ["--package", "top", "--extras", ""] if folder else []
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "audit.py"), *chosen, *options],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def service(folder: Path, answer: str, code: int = 0) -> str:
    """A pip-audit that gives one answer."""
    program = folder / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {code}\n")
    program.chmod(0o755)
    return str(program)


def test_what_this_package_brings() -> None:
    code, said = audit()
    assert code == 0, said
    lines = said.splitlines()
    assert any(line.startswith("  openvino 2026.") and "ovms ==2026." in line for line in lines)
    assert any(line.startswith("  boto3 ") for line in lines)
    assert not any(line.startswith("  pytest ") for line in lines)
    assert "NOT AUDITED: no pip-audit was named" in lines


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("Apache-2.0", True), ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True), ("MPL-2.0", True),
        ("GPL-3.0-only OR MIT", True), ("3-Clause BSD License", True), ("Apache-2.0 OR BSD-3-Clause", True),
        ("GPL-3.0-only", False), ("MIT AND LGPL-2.1-only", False), ("Proprietary", False), ("", False),
        ("MITRE", False),
    ],
)  # fmt: skip
def test_licences(tmp_path: Path, licence: str, allowed: bool) -> None:
    install(tmp_path, "top", requires=("middle",))
    install(tmp_path, "middle", requires=("bottom",))
    install(tmp_path, "bottom", licence=licence)
    code, said = audit(tmp_path)
    assert (code == 0) == allowed, said
    assert ("error: bottom: licence" in said) != allowed


def test_requirements_that_are_not_met(tmp_path: Path) -> None:
    install(tmp_path, "top", requires=("old>=2", "lost>1", 'never; python_version < "3"', "fine<2"))
    install(tmp_path, "old", "1.5")
    install(tmp_path, "fine", "1.9rc1")
    code, said = audit(tmp_path)
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("error")] == [
        "error: top requires old>=2, but 1.5 is installed",
        "error: top requires lost>1, which is not installed",
    ]


def test_a_vulnerability_is_an_error(tmp_path: Path) -> None:
    install(tmp_path, "top", requires=("weak", "new"))
    install(tmp_path, "weak")
    install(tmp_path, "new")
    vulns = [{"id": "CVE-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}]
    weak = {"name": "weak", "version": "1.0", "vulns": vulns}
    answer = json.dumps({"dependencies": [weak, {"name": "new", "skip_reason": "not found"}], "fixes": []})
    code, said = audit(tmp_path, "--pip-audit", service(tmp_path, answer, 1))
    assert code == 1
    assert "error: weak 1.0: CVE-1, fixed in 1.1" in said
    assert "1 packages were looked up" in said
    assert "NOT AUDITED, as the service does not know them: new" in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (json.dumps({"dependencies": [{"name": "m", "skip_reason": "x"}]}), "the service knows none of 1 packages"),
        ("", "pip-audit ended with 1: no output"),
    ],
    ids=["another service", "none"],
)
def test_no_answer_is_said(tmp_path: Path, answer: str, said: str) -> None:
    """It is no error, and no good news."""
    install(tmp_path, "top", requires=("m",))
    install(tmp_path, "m")
    code, printed = audit(tmp_path, "--pip-audit", service(tmp_path, answer, 1))
    assert code == 0
    assert f"NOT AUDITED: {said}" in printed
