"""Which versions are served, which one answers, and what is told about those that cannot."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client, NotFound
from server_under_test import PATIENCE, Stubs, refusal, serving, starting
from tensor_protos import outputs_of, request

from tests.models import broken, synthetic

ROW = np.zeros((1, 10), np.float32)

NOT_EMPTY = [build for build in broken.ALL if build is not broken.empty_folder]  # which is no version at all


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version n answers x + n."""
    root = tmp_path_factory.mktemp("versions")
    for version in (1, 3, 10):
        synthetic.add(version, root, version=version)
    (root / "add" / "notes").mkdir()
    (root / "add" / "0x4").mkdir()
    (root / "add" / "7").write_text("a file, not a version")
    return root / "add"


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (None, [10]),
        ('{"latest": {"num_versions": 1}}', [10]),
        ('{"latest": {"num_versions": 2}}', [3, 10]),
        ('{"latest": {"num_versions": 9}}', [1, 3, 10]),
        ('{"latest": {}}', [10]),
        ('{"all": {}}', [1, 3, 10]),
        ('{"specific": {"versions": [1]}}', [1]),
        ('{"specific": {"versions": [3, 1, 99]}}', [1, 3]),
    ],
)
def test_policies(three_versions: Path, policy: str | None, served: list[int]) -> None:
    options = () if policy is None else ("--model_version_policy", policy)
    with serving(three_versions, *options) as server, Client(server.address) as client, Stubs(server.address) as stubs:
        assert [(one.version, one.state) for one in client.status("add")] == [(one, "AVAILABLE") for one in served]
        for version in (1, 3, 7, 10, 99):
            if version not in served:
                with pytest.raises(NotFound, match=rf"Servable not found for request: Specific\(add, {version}\)"):
                    client.predict("add", {"x": ROW}, version=version)
                with pytest.raises(NotFound, match=rf"Servable not found for request: Specific\(add, {version}\)"):
                    client.status("add", version)
                continue
            answer = stubs.prediction.Predict(request("add", version, x=ROW), timeout=PATIENCE)
            assert answer.model_spec.version.value == version
            assert outputs_of(answer)["y"][0, 0] == version
            assert client.metadata("add", version).version == version
            assert [one.version for one in client.status("add", version)] == [version]
        for default in (None, 0):  # absent and 0 are both the highest
            answer = stubs.prediction.Predict(request("add", default, x=ROW), timeout=PATIENCE)
            assert answer.model_spec.version.value == max(served)
            assert outputs_of(answer)["y"][0, 0] == max(served)
        assert client.metadata("add").version == max(served)
        assert f"List of available versions for add model: {served}" in server.text
        assert f"Default version for add model is {max(served)}" in server.text


@pytest.mark.parametrize("build", NOT_EMPTY)
def test_a_broken_version_beside_a_good_one(build: Callable[..., Path], tmp_path: Path) -> None:
    synthetic.add(5, tmp_path, "mixed", 1)
    shutil.move(build(tmp_path / "elsewhere", version=2) / "2", tmp_path / "mixed" / "2")
    with (
        serving(tmp_path / "mixed", "--model_version_policy", '{"all": {}}') as server,
        Client(server.address) as client,
        Stubs(server.address) as stubs,
    ):
        good, bad = client.status("mixed")
        assert (good.version, good.state, good.error_code, good.error_message) == (1, "AVAILABLE", "OK", "")
        assert (bad.version, bad.state, bad.error_code) == (2, "LOADING", "UNKNOWN")
        prefix = "Error occurred while loading version: "
        assert bad.error_message.startswith(prefix)
        assert len(bad.error_message) > len(prefix)
        assert client.predict("mixed", ROW)["y"][0, 0] == 5
        assert refusal(stubs.prediction.Predict, request("mixed", 2, x=ROW)) == (
            "NOT_FOUND",
            "Servable not found for request: Specific(mixed, 2)",
        )
        assert [stubs.health_of(""), stubs.health_of("mixed")] == ["SERVING", "SERVING"]
        assert "Error occurred while loading model version: {'model_name': 'mixed', 'version_number': 2}" in server.text
        assert f"Content error: {bad.error_message.removeprefix(prefix).splitlines()[0]}" in server.text
        assert "Traceback" not in server.text


def test_folder_names_with_zeros(tmp_path: Path) -> None:
    synthetic.add(7, tmp_path, version=7)
    (tmp_path / "add" / "7").rename(tmp_path / "add" / "007")
    with serving(tmp_path / "add") as server, Client(server.address) as client:
        assert client.predict("add", ROW, version=7)["y"][0, 0] == 7


def test_the_largest_version(tmp_path: Path) -> None:
    largest = 2**63 - 1
    synthetic.add(3, tmp_path, version=largest)
    with serving(tmp_path / "add") as server, Client(server.address) as client:
        assert [one.version for one in client.status("add")] == [largest]
        assert client.predict("add", ROW, version=largest)["y"][0, 0] == 3


@pytest.mark.parametrize("name", ["with space", "m\u00f6del", "a/b:c", "--x", "%s"])
def test_any_model_name(three_versions: Path, name: str) -> None:
    arguments = ("model", f"--model_name={name}", "--model_path", str(three_versions), "--port", "0")
    with starting(*arguments) as server, Client(server.wait_until_ready().address) as client:
        assert client.predict(name, ROW)["y"][0, 0] == 10
        assert server.stop() == 0
        assert f"will be serving models: {[name]}" in server.text
