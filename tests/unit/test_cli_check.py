"""`ovms check`: what it finds in files and folders without serving anything."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ovms.check import Check
from ovms.config import ModelConfig
from ovms.core.servable import ServableId
from ovms.core.version_policy import All, Specific
from ovms.errors import Code, ServingError

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ovms", "check", *arguments],
        capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR", **environment},
        timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with versions 1 and 2 that look like models, and an empty version 3."""
    for version in (1, 2, 3):
        (tmp_path / "m" / str(version)).mkdir(parents=True)
    for version in (1, 2):
        (tmp_path / "m" / str(version) / "model.xml").write_text("<net/>")
    return tmp_path / "m"


def config_file(folder: Path, *models: dict[str, object]) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps({"model_config_list": [{"config": model} for model in models]}))
    return str(file)


def check(*models: ModelConfig, **options: object) -> list[str]:
    lines: list[str] = []
    Check(lines.append, **options).models(models)  # type: ignore[arg-type]
    return lines


def test_a_good_file(tmp_path: Path, model: Path) -> None:
    file = config_file(
        tmp_path,
        {"name": "a", "base_path": "m", "typo": 1},
        {"name": "b", "base_path": str(model), "model_version_policy": {"all": {}}, "version_labels": {"stable": 1}},
    )
    done = run("--config_path", file)
    assert done.stdout.splitlines() == [
        f'warning: {file}: /model_config_list/0/config/typo: unknown key "typo", which has no effect',
        "warning: model a: version 3 does not count: there is no file in it",
        "model a: versions [2] ok",
        "warning: model b: version 3 does not count: there is no file in it",
        "model b: versions [1, 2] ok",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert run(OVMS_CONFIG_PATH=file).stdout == done.stdout


def test_all_mistakes_of_a_file_and_of_its_good_models(tmp_path: Path, model: Path) -> None:
    file = config_file(
        tmp_path,
        {"name": "a", "base_path": "m", "nireq": "x", "shape": "y"},
        {"name": "b", "base_path": "nowhere"},
        {"name": "c", "base_path": str(model)},
    )
    done = run("--config_path", file)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == f'error: {file}: /model_config_list/0/config/nireq: "x" is not a whole number, 0 or more'
    assert lines[1].startswith(f"error: {file}: /model_config_list/0/config/shape: Error getting shapes from the str")
    assert lines[2].startswith(f"error: model b: {tmp_path / 'nowhere'}: no such folder or file")
    assert lines[-1] == "model c: versions [2] ok"
    assert len(lines) == 5


def test_one_model_by_options(model: Path) -> None:
    done = run("--model_name", "m", "--model_path", str(model), "--model_version_policy", '{"all": {}}')
    assert done.stdout.splitlines()[-1] == "model m: versions [1, 2] ok"
    assert done.returncode == 0
    done = run("--shape", "x", "--warmup", "2", OVMS_MODEL_NAME="m", OVMS_MODEL_PATH=str(model), OVMS_NIREQ="many")
    assert done.returncode == 1
    assert [line[:60] for line in done.stdout.splitlines()] == [
        "error: --shape: Error getting shapes from the string: x: 'x'"[:60].replace("'", '"'),
        "error: OVMS_NIREQ: 'many' is not a whole number, 0 or more",
    ]


def test_shape_and_batch_size(model: Path) -> None:
    done = run("--model_name", "m", "--model_path", str(model), "--shape", "auto", "--batch_size", "4")
    assert done.stdout.startswith("warning: Both shape and batch_size parameters are set for model: m. Assuming")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ((), {}, "one of these is required: --config_path, or --model_name and --model_path"),
        (("--model_name", "m"), {}, "the following arguments are required: --model_path"),
        ((), {"OVMS_MODEL_PATH": "/m"}, "the following arguments are required: --model_name"),
        (("--config_path", "c", "--model_name", "m"), {}, "--config_path and --model_name or --model_path: expected"),
        ((), {"OVMS_CONFIG_PATH": "c", "OVMS_MODEL_NAME": "m"}, "--config_path and --model_name or --model_path: exp"),
        (("--config_path", "c", "--nireq", "4"), {}, "--nireq: without effect beside --config_path"),
        (("--config_path", "c", "--port", "4"), {}, "unrecognized arguments: --port 4"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], environment: dict[str, str], message: str) -> None:
    done = run(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_the_command_line_says_which_of_the_two(tmp_path: Path, model: Path) -> None:
    file = config_file(tmp_path, {"name": "a", "base_path": "m"})
    done = run("--config_path", file, OVMS_MODEL_NAME="b", OVMS_MODEL_PATH=str(model))
    assert done.stdout.endswith("model a: versions [2] ok\n")
    done = run("--model_name", "b", OVMS_MODEL_PATH=str(model), OVMS_CONFIG_PATH=file)
    assert done.stdout.endswith("model b: versions [2] ok\n")


def test_a_policy_that_selects_nothing(model: Path) -> None:
    lines = check(ModelConfig("m", str(model), version_policy=Specific(frozenset({8}))))
    assert lines[-1] == (f"error: model m: nothing to serve in {model}: the version policy selects none of [1, 2, 3]")


def test_labels(model: Path) -> None:
    lines = check(ModelConfig("m", str(model), version_labels={"old": 1, "new": 9, "now": 2}))
    assert lines[1:] == [
        'warning: model m: label "old": version 1 is not one of [2]',
        'error: model m: label "new": there is no version 9; expected one of [1, 2, 3]',
    ]


def test_ready_files(model: Path) -> None:
    (model / "1" / ".ready").touch()
    lines = check(ModelConfig("m", str(model), ready_file=True))
    assert lines == [
        "warning: model m: version 2 does not count: it has no .ready file",
        "warning: model m: version 3 does not count: there is no file in it",
        "model m: versions [1] ok",
    ]


def test_every_chosen_version_needs_a_model(model: Path) -> None:
    (model / "1" / "model.xml").rename(model / "1" / "model.bin")
    (model / "2" / "other.xml").touch()
    lines = check(ModelConfig("m", str(model), version_policy=All()))
    assert lines[1].startswith(f"error: model m: version 1: {model / '1'}: no model in this folder; expected one of")
    assert lines[2].startswith(f"error: model m: version 2: {model / '2'}: more than one OpenVINO IR model")
    assert len(lines) == 3


@pytest.mark.parametrize("content", ["{", "[]", '{"inputs": 1}', "\xff"])
def test_a_mapping_that_cannot_be_read(model: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (model / "2" / "mapping_config.json").write_text(content, encoding="latin-1")
    line = check(ModelConfig("m", str(model)))[-1]
    assert line.startswith("error: model m: version 2: Error occurred while reading mapping_config in path")
    assert caplog.records == []
    (model / "2" / "mapping_config.json").write_text('{"inputs": {"a": "b"}}')
    assert check(ModelConfig("m", str(model)))[-1] == "model m: versions [2] ok"


def test_extensions_that_are_not_there(model: Path) -> None:
    lines = check(ModelConfig("m", str(model), cpu_extension="/no/x.so"), cpu_extension="/no/y.so")
    assert lines[0] == "error: /no/y.so: no such file; expected the library of --cpu_extension"
    assert "error: model m: cpu_extension: /no/x.so: no such file" in lines


def test_a_place_that_nothing_can_read() -> None:
    line = check(ModelConfig("m", "ftp://host/m"))[-1]
    assert line.startswith("error: model m: ftp://host/m: ftp:// paths are not supported")


class FakeLoader:
    def __init__(self, said: list[str], servable: ServableId) -> None:
        self._said = said
        self._id = servable

    def load(self) -> None:
        self._said.append(f"load {self._id.version}")
        if self._id.version == 1:
            raise ServingError(Code.INTERNAL, "the weights\nare missing")

    def unload(self) -> None:
        self._said.append(f"unload {self._id.version}")


def test_loading_each_chosen_version(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Runtime:
        def __init__(self, *, cache_dir: str | None, cpu_extension: str | None) -> None:
            said.append(f"runtime {cache_dir} {cpu_extension}")

        def loader_factory(
            self, config: ModelConfig, fetch: Callable[[int], Path], release: Callable[[Path], None]
        ) -> Callable[[ServableId], FakeLoader]:
            return lambda servable: FakeLoader(said, servable)

    loader = ModuleType("ovms.runtime.loader")
    loader.Runtime = Runtime  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovms.runtime.loader", loader)
    lines = check(ModelConfig("m", str(model), version_policy=All()), load=True)
    assert said == ["runtime None None", "load 1", "unload 1", "load 2", "unload 2"]
    assert lines[1:] == ["error: model m: version 1: the weights are missing"]
    assert check(ModelConfig("m", str(model)), load=True)[-1] == "model m: versions [2] ok"
