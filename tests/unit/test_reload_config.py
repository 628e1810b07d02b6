"""HandleReloadConfigRequest on messages: which models a request asks for, and what is wrong with others."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ovms.api.reload import ReloadConfig
from ovms.config import ModelConfig
from ovms.core.servable import ServableId, ServableState, State
from ovms.core.version_policy import All, Latest, Specific
from ovms.errors import Code, ServingError
from ovms.protos import tensorflow_serving as messages


class Models:
    """A configuration that serves version 1 of whatever it is told, at once."""

    def __init__(self, *models: ModelConfig) -> None:
        self.configured: Sequence[ModelConfig] = models
        self.files_read = 0
        self.settles = True

    def models(self) -> Sequence[ModelConfig]:
        return self.configured

    def reload_file(self) -> None:
        self.files_read += 1

    def set_models(self, models: Sequence[ModelConfig]) -> None:
        self.configured = models

    def wait_settled(self, timeout: float) -> bool:
        return self.settles

    def problem(self, name: str) -> str:
        return ""

    def status(self, name: str, version: int = 0) -> list[ServableState]:
        return [ServableState(ServableId(name, 1), State.AVAILABLE if self.settles else State.LOADING)]

    def labels(self, name: str) -> Mapping[str, int]:
        return {label: 1 for model in self.configured if model.name == name for label in model.version_labels}


def asking(*models: Mapping[str, Any]) -> bytes:
    message = messages.ReloadConfigRequest()
    message.config.model_config_list.SetInParent()
    for model in models:
        message.config.model_config_list.config.add(**model)
    return bytes(message.SerializeToString())


def outcome(answer: bytes) -> tuple[int, str]:
    status = messages.ReloadConfigResponse.FromString(answer).status
    return status.error_code, status.error_message


def test_what_a_request_cannot_say_stays() -> None:
    models = Models(ModelConfig("a", "/a", version_policy=All(), version_labels={"x": 1}, nireq=4))
    answer = ReloadConfig(models)(asking({"name": "a", "base_path": "/new"}, {"name": "b", "base_path": "/b"}), None)
    assert outcome(answer) == (0, "")
    assert models.configured == [ModelConfig("a", "/new", version_policy=Latest(1), nireq=4), ModelConfig("b", "/b")]


def test_policy_and_labels() -> None:
    models = Models()
    model = {"name": "a", "base_path": "/a", "model_version_policy": {"specific": {"versions": [1, 3]}}}
    answer = ReloadConfig(models)(asking(model | {"version_labels": {"stable": 1, "next": 3}}), None)
    assert models.configured[0].version_policy == Specific(frozenset({1, 3}))
    assert models.configured[0].version_labels == {"stable": 1, "next": 3}
    assert outcome(answer) == (int(Code.FAILED_PRECONDITION), "model a: label next: version 3 is not available")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"name": "", "base_path": "/b"}, ".name: must not be empty"),
        ({"name": " ", "base_path": "/b"}, ".name: must not be empty"),
        ({"name": "b", "base_path": ""}, ".base_path: must not be empty"),
        ({"name": "b", "base_path": "/b\0"}, '.base_path: "/b\\u0000" is not text without NUL characters'),
        ({"name": "b", "base_path": "/b", "version_labels": {"x": 0}}, '.version_labels: label "x": 0 is not a whole'),
        ({"name": "b", "base_path": "/b", "version_labels": {"x": -1}}, '.version_labels: label "x": -1 is not a who'),
        ({"name": "b", "base_path": "/b", "version_labels": {"": 1}}, '.version_labels: label "": must not be empty'),
        (
            {"name": "b", "base_path": "/b", "model_version_policy": {"specific": {}}},
            ".model_version_policy.specific: versions must not be empty",
        ),
    ],
)
def test_a_mistake_names_its_place_and_changes_nothing(model: Mapping[str, Any], reason: str) -> None:
    before = (ModelConfig("a", "/a"),)
    models = Models(*before)
    with pytest.raises(ServingError) as refused:
        ReloadConfig(models)(asking({"name": "a", "base_path": "/new"}, model), None)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message.startswith(f"model_config_list.config[1]{reason}")
    assert models.configured == before


def test_without_a_configuration_the_file_is_read() -> None:
    models = Models(ModelConfig("a", "/a"))
    assert outcome(ReloadConfig(models)(b"", 5.0)) == (0, "")
    assert models.files_read == 1


def test_what_is_still_loading_is_told() -> None:
    models = Models()
    models.settles = False
    answer = ReloadConfig(models)(asking({"name": "a", "base_path": "/a"}), 5.0)
    assert outcome(answer) == (
        int(Code.DEADLINE_EXCEEDED),
        "not all models were tried within the deadline; model a: still loading: 1",
    )
