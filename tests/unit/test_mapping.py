import json
import logging
import os
from pathlib import Path

import pytest

from ovms.runtime.mapping import FILE_NAME, TensorNames, read_mapping


@pytest.mark.parametrize(
    ("content", "inputs", "outputs"),
    [
        ({}, {}, {}),
        ({"inputs": {"x": "image"}}, {"x": "image"}, {}),
        ({"outputs": {"y": "boxes", "z": "scores"}}, {}, {"y": "boxes", "z": "scores"}),
        ({"inputs": {"x": "\u5165"}, "outputs": {"y": "y"}, "else": 1}, {"x": "\u5165"}, {"y": "y"}),
    ],
)
def test_names(tmp_path: Path, content: object, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    assert read_mapping(tmp_path) == TensorNames(inputs, outputs)


def test_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tmp_path / "model.xml"
    model.touch()
    assert read_mapping(tmp_path) == read_mapping(model) == TensorNames()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe\xfd", "codec can't decode"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (b'{"inputs": ["x"]}', "inputs: expected an object"),
        (b'{"outputs": null}', "outputs: expected an object"),
        (b'{"inputs": {"x": "image"}, "outputs": {"y": 1}}', "outputs: expected an object"),
        (b'{"inputs": {"x": "\\ud800"}}', "surrogates not allowed"),
        (b'{"inputs": {"\\ud800": "x"}}', "surrogates not allowed"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_file_that_cannot_be_understood(
    tmp_path: Path, content: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    check_refusal(path, told, caplog)


def test_a_file_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    path.mkdir()
    check_refusal(path, "not a regular file", caplog)


def test_a_pipe_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    os.mkfifo(path)
    check_refusal(path, "not a regular file", caplog)


def check_refusal(path: Path, told: str, caplog: pytest.LogCaptureFixture) -> None:
    assert read_mapping(path.parent) == TensorNames()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    start = f"Error occurred while reading mapping_config in path {path}. Message error "
    assert record.getMessage().startswith(start)
    assert told in record.getMessage()
