"""Every key of the file's models and the layout of their folders, by what a server that has them does.

| key | here | the ancestor's fault |
|---|---|---|
| name | unique | the last of two won, and the first leaked |
| base_path | a folder, also relative to the file | |
| batch_size | a number, as such or as text, or auto | a number passed the schema and failed at the load |
| shape | text or an object | |
| model_version_policy | an object: test_versions_policies.py | |
| nireq | a number, or text; 0 is the device's choice | text refused; 0 hung |
| target_device | as OpenVINO has it | |
| plugin_config | an object; names of before 2022 are translated | |
| unknown keys, anywhere | warned about | accepted in silence |

Folders: other files beside the model are ignored; ``mapping_config.json`` gives names, and one that cannot be read is
told and has no effect. The rest of it: test_server_mapping.py, test_versions_policies.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovms_client import Client
from repository import Repository, answer, serving_file
from server_under_test import Server

from tests.models import synthetic

# name -> options, the shape that metadata tells, what the log has of its load
MODELS: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "plain": ({}, (-1, 10), "on CPU: "),
    "batch": ({"batch_size": 4}, (4, 10), ""),
    "batch-text": ({"batch_size": "4"}, (4, 10), ""),
    "batch-auto": ({"batch_size": "auto"}, (-1, 10), ""),
    "shape": ({"shape": "(2,10)"}, (2, 10), ""),
    "shape-brackets": ({"shape": "[2, 10]"}, (2, 10), ""),
    "shape-list": ({"shape": [2, 10]}, (2, 10), ""),
    "shape-by-input": ({"shape": {"x": "(2,10)"}}, (2, 10), ""),
    "shape-before-batch": ({"shape": "(2,10)", "batch_size": 7}, (2, 10), ""),
    "nireq": ({"nireq": 3}, (-1, 10), "3 infer requests"),
    "nireq-text": ({"nireq": "3"}, (-1, 10), "3 infer requests"),
    "nireq-0": ({"nireq": 0}, (-1, 10), r"[1-9]\d* infer requests"),
    "device": ({"target_device": "AUTO:CPU"}, (-1, 10), "on AUTO:CPU: "),
    "plugin": ({"plugin_config": {"NUM_STREAMS": 2}}, (-1, 10), "on CPU: 2 streams"),
    "plugin-old": ({"plugin_config": {"CPU_THROUGHPUT_STREAMS": "2"}}, (-1, 10), "on CPU: 2 streams"),
    "plugin-prefix": ({"plugin_config": {"KEY_CPU_THROUGHPUT_STREAMS": "2"}}, (-1, 10), "on CPU: 2 streams"),
}
BOTH = "Both shape and batch_size parameters are set for model: {}. Assuming that model is reshapable - batch_size will"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Client]]:
    repository = Repository(tmp_path_factory.mktemp("keys"))
    folder = repository.put("add", 1)
    (folder / "1" / "README.txt").write_text("ignored")
    synthetic.two_in_two_out(repository.root, "mapped", 1)
    synthetic.two_in_two_out(repository.root, "unreadable", 1)
    names = {"inputs": {"a": "left", "nobody": "x"}, "outputs": {"sum": "total"}}
    (repository.root / "mapped/1/mapping_config.json").write_text(json.dumps(names))
    (repository.root / "unreadable/1/mapping_config.json").write_text("{")
    entries = [{"config": {"name": name, "base_path": "add", **options}} for name, (options, *_) in MODELS.items()]
    entries += [{"config": {"name": name, "base_path": name}} for name in ("mapped", "unreadable")]
    repository.write(*entries)
    with serving_file(repository.file, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as both:
        yield both


@pytest.mark.parametrize("name", MODELS)
def test_a_key_does_what_it_says(running: tuple[Server, Client], name: str) -> None:
    server, client = running
    _, shape, line = MODELS[name]
    assert client.metadata(name).inputs["x"].shape == shape
    rows = max(1, shape[0])
    assert client.predict(name, {"x": np.zeros((rows, 10), np.float32)})["y"].tolist() == [[1.0] * 10] * rows
    server.wait_for_line(rf"\[Model: {name}, version: 1\] --- .*{line}")


def test_shape_goes_before_batch_size_with_the_ancestors_warning(running: tuple[Server, Client]) -> None:
    assert f" - WARNING - {BOTH.format('shape-before-batch')}" in running[0].text
    assert running[0].text.count("Both shape and batch_size") == 1


def test_mapping(running: tuple[Server, Client]) -> None:
    server, client = running
    metadata = client.metadata("mapped")
    assert (set(metadata.inputs), set(metadata.outputs)) == ({"left", "b"}, {"total", "diff", "larger", "bytes"})
    assert set(client.metadata("unreadable").inputs) == {"a", "b"}
    server.wait_for_line(
        r" - ERROR - Error occurred while reading mapping_config in path .*unreadable/1/mapping_config.json. Message e"
    )
    assert "Matched keys for model: {'inputs': {'left': 'a', 'b': 'b'}, 'outputs': {'total': 'sum'" in server.text


def test_mapping_is_applied_again_on_a_reload(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    folder = repository.put("m", 1)
    (folder / "1/mapping_config.json").write_text('{"inputs": {"x": "first"}}')
    repository.write(repository.entry("m"))
    with serving_file(repository.file) as (server, client):
        assert set(client.metadata("m").inputs) == {"first"}
        (folder / "1/mapping_config.json").write_text('{"inputs": {"x": "second"}}')
        repository.write(repository.entry("m", nireq=2))
        server.wait_for_line("'inputs': {'second': 'x'}")
        assert answer(client, "m") == "InvalidArgument"  # x is not its public name
