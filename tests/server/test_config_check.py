"""``ovms check`` as a process: what it prints of good and bad set-ups, with which code it ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import Repository
from server_under_test import PATIENCE, ROOT, clean_environment

from tests.models import broken, synthetic


def check(*arguments: str, **environment: str) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, stderr without its log lines of INFO."""
    done = subprocess.run(
        [sys.executable, "-m", "ovms", "check", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False,
        env=clean_environment() | {"AWS_SECRET_ACCESS_KEY": "aws-9f8e7d6c"} | environment,
    )  # fmt: skip
    assert "aws-9f8e7d6c" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    quiet = [line for line in done.stderr.splitlines() if " - INFO - " not in line]
    return done.returncode, done.stdout.splitlines(), "\n".join(quiet)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.put("good", 1)
    made.put("good", 3)
    broken.truncated_xml(tmp_path, "broken")
    broken.empty_folder(tmp_path, "bare")
    synthetic.add(1, tmp_path, "names")
    (tmp_path / "names/1/mapping_config.json").write_text("{")
    return made


def test_a_good_file(repository: Repository) -> None:
    repository.write(
        repository.entry("good"),
        {
            "config": {
                "name": "all",
                "base_path": "good",
                "model_version_policy": {"all": {}},
                "version_labels": {"x": 1},
            }
        },
    )
    for load in ((), ("--load",)):
        code, said, log = check("--config_path", str(repository.file), *load)
        assert (code, said, log) == (0, ["model good: versions [3] ok", "model all: versions [1, 3] ok"], "")


def test_warnings_alone_are_well(repository: Repository) -> None:
    repository.write(repository.entry("good", batchsize=3))
    assert check("--config_path", str(repository.file))[:2] == (
        0,
        [
            f'warning: {repository.file}: /model_config_list/0/config/batchsize: unknown key "batchsize", '
            "which has no effect",
            "model good: versions [3] ok",
        ],
    )


def test_every_mistake_is_told_and_what_is_well_too(repository: Repository) -> None:
    def entry(name: str, **options: Any) -> dict[str, Any]:
        return {"config": {"name": name, "base_path": "good", **options}}

    repository.write(
        entry("a", nireq="x"),
        entry("b", shape="1", batch_size=-2),
        entry("good"),
        entry("nowhere", base_path="nowhere"),
        entry("none", model_version_policy={"specific": {"versions": [9]}}),
        entry("label", version_labels={"x": 7}),
        entry("bare", base_path="bare"),
        entry("names", base_path="names"),
        entry("extension", cpu_extension="none.so"),
        entry("broken", base_path="broken"),
    )
    code, said, _ = check("--config_path", str(repository.file))
    head = f"error: {repository.file}: /model_config_list"
    starts = [
        f'{head}/0/config/nireq: "x" is not a whole number, 0 or more',
        f"{head}/1/config/shape: Error getting shapes from the string: 1: ",
        f"{head}/1/config/batch_size: -2 is not a whole number",
        "model good: versions [3] ok",
        f"error: model nowhere: {repository.root}/nowhere: no such folder or file",
        f"error: model none: nothing to serve in {repository.root}/good: the version policy selects none of [1, 3]",
        'error: model label: label "x": there is no version 7; expected one of [1, 3]',
        "warning: model bare: version 1 does not count: there is no file in it",
        f"error: model bare: nothing to serve in {repository.root}/bare",
        "error: model names: version 1: Error occurred while reading mapping_config in path",
        f"error: model extension: cpu_extension: {repository.root}/none.so: no such file",
        "model broken: versions [1] ok",  # what only a load can tell
    ]
    assert code == 1
    assert len(said) == len(starts), said
    assert [line for line, start in zip(said, starts, strict=True) if not line.startswith(start)] == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"base_path": "broken"}, "version 1: "),
        ({"target_device": "TOASTER"}, "TOASTER"),
        ({"plugin_config": {"NO_SUCH": "1"}}, "NO_SUCH"),
        ({"shape": {"nobody": "(1,10)"}}, "nobody"),
    ],
)
def test_what_only_a_load_can_tell(repository: Repository, options: dict[str, Any], reason: str) -> None:
    repository.write({"config": {"name": "m", "base_path": "good", **options}}, repository.entry("good"))
    assert check("--config_path", str(repository.file))[0] == 0
    code, said, _ = check("--config_path", str(repository.file), "--load")
    assert code == 1
    assert said[0].startswith("error: model m: version ")
    assert reason in said[0]
    assert said[1:] == ["model good: versions [3] ok"]


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "line"),
    [
        (("--model_name", "m", "--model_path", "{}/good"), {}, 0, "model m: versions [3] ok"),
        (("--model_name", "m", "--model_path", "{}/broken", "--load"), {}, 1, "error: model m: version 1: "),
        (("--model_name", "m", "--model_path", "{}/good", "--nireq", "-1"), {}, 2, ""),
        (("--model_name", "m", "--model_path", "{}/good", "--shape", "x"), {}, 1, "error: --shape: "),
        (("--model_name", "m", "--model_path", "{}/good"), {"OVMS_MEAN": "x"}, 1, "error: OVMS_MEAN: "),
        (
            ("--model_name", "m", "--model_path", "ftp://user:pass@host/m"),
            {},
            1,
            "error: model m: ftp://***@host/m: ftp:// ",
        ),
        (("--model_name", "m"), {}, 2, ""),
        ((), {}, 2, ""),
        (("--config_path", "{}/models.json", "--model_name", "m"), {}, 2, ""),
        (("--config_path", "{}/none.json"), {}, 1, "error: {}/none.json: cannot be read: No such file"),
    ],
)
def test_one_model_and_usage(
    repository: Repository, arguments: tuple[str, ...], environment: dict[str, str], code: int, line: str
) -> None:
    repository.write(repository.entry("good"))
    root = str(repository.root)
    found, said, log = check(*(argument.replace("{}", root) for argument in arguments), **environment)
    assert (found, len(said)) == (code, 0 if code == 2 else 1), [*said, log]
    if code == 2:
        assert log.startswith("error: ")
    else:
        assert said[0].startswith(line.replace("{}", root))
        assert log == ""


def test_nothing_is_served_and_nothing_changes(repository: Repository) -> None:
    repository.write(repository.entry("good"))
    before = sorted(str(path) for path in repository.root.rglob("*"))
    content = repository.file.read_text()
    assert check("--config_path", str(repository.file), "--load")[0] == 0
    assert sorted(str(path) for path in repository.root.rglob("*")) == before
    assert json.loads(content) == json.loads(repository.file.read_text())
