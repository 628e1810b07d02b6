"""`ovms check --load` with real models."""

import json
import subprocess
import sys
from pathlib import Path

from tests.models import broken, synthetic

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ovms", "check", *arguments],
        capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}, timeout=100, check=False,
    )  # fmt: skip


def test_models_are_loaded(tmp_path: Path) -> None:
    good = synthetic.null_model(tmp_path, batch=-1, name="good")
    bad = broken.truncated_bin(tmp_path, name="bad")
    config = {
        "model_config_list": [
            {"config": {"name": "good", "base_path": str(good), "batch_size": 4, "warmup": 1}},
            {"config": {"name": "bad", "base_path": str(bad)}},
        ]
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments = ("--config_path", str(tmp_path / "config.json"))
    # What only OpenVINO can see is seen only with --load.
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (0, "model good: versions [1] ok\nmodel bad: versions [1] ok\n")
    done = run(*arguments, "--load")
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    assert lines[0] == "model good: versions [1] ok"
    assert lines[1].startswith("error: model bad: version 1: ")
    assert len(lines) == 2
    assert len(lines[1]) > len("error: model bad: version 1: ")


def test_a_shape_that_the_model_does_not_take(tmp_path: Path) -> None:
    model = synthetic.null_model(tmp_path)
    done = run("--model_name", "m", "--model_path", str(model), "--shape", '{"nosuch": "(1,10)"}', "--load")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("error: model m: version 1: ")
    assert "nosuch" in done.stdout
