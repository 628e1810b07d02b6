"""TensorFlow Serving's HandleReloadConfigRequest: another list of models, while serving."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import DecodeError

from ovms.config import ModelConfig
from ovms.config.options import parse_version_labels
from ovms.config.scalars import as_json, explain, name, path
from ovms.core.servable import ServableState, State
from ovms.core.version_policy import All, Latest, Specific, VersionPolicy
from ovms.errors import Code, ConfigError, ServingError
from ovms.protos import tensorflow_serving as messages

LONGEST_WAIT: Final = 600.0
"""Seconds a call without a deadline waits for its models."""

MARGIN: Final = 0.2
"""Seconds before a call's deadline at which it is answered, so that the answer still arrives."""

T = TypeVar("T")


@dataclass(frozen=True)
class ModelResult:
    """What became of one model: empty problem if it serves all that is wanted."""

    name: str
    problem: str = ""


class Configuration(Protocol):
    """The models of a running server."""

    def models(self) -> Sequence[ModelConfig]:
        """Return what is configured now."""
        ...

    def reload_file(self) -> None:
        """Read the configuration file again and take it over; ConfigError if it is wrong, and nothing has changed."""
        ...

    def set_models(self, models: Sequence[ModelConfig]) -> None:
        """Take over these models in place of all others; ConfigError if that cannot be, and nothing has changed."""
        ...

    def wait_settled(self, timeout: float) -> bool:
        """Look at the repositories and wait for what that starts; False if it took longer than ``timeout`` seconds."""
        ...

    def problem(self, name: str) -> str:
        """Why a model's versions cannot be listed; empty if they can."""
        ...

    def status(self, name: str, version: int = 0) -> list[ServableState]: ...

    def labels(self, name: str) -> Mapping[str, int]: ...


class ReloadConfig:
    """The call on serialized messages."""

    def __init__(self, configuration: Configuration, clock: Callable[[], float] = time.monotonic) -> None:
        self._configuration = configuration
        self._clock = clock

    def __call__(self, request: bytes, timeout: float | None) -> bytes:
        """Answer a ReloadConfigRequest within ``timeout`` seconds.

        The models of the request take the place of those there are; a request without a configuration has the
        configuration file read again. Nothing changes if anything in it is wrong (INVALID_ARGUMENT). The answer
        comes once every model was tried: status OK, or FAILED_PRECONDITION with what is wrong with which model, or
        DEADLINE_EXCEEDED with what is still loading. A model that cannot load does not take others with it.
        """
        deadline = self._clock() + max(0.0, (LONGEST_WAIT if timeout is None else timeout) - MARGIN)
        try:
            parsed = messages.ReloadConfigRequest.FromString(request)
        except DecodeError as error:
            raise ServingError(Code.INVALID_ARGUMENT, f"ReloadConfigRequest cannot be parsed: {error}") from None
        chosen = parsed.config.WhichOneof("config")
        if chosen == "custom_model_config":
            raise ServingError(Code.INVALID_ARGUMENT, "custom_model_config: not supported; expected model_config_list")
        if chosen is None:
            self._configuration.reload_file()
        else:
            self._configuration.set_models(self._models(parsed.config.model_config_list.config))
        settled = self._configuration.wait_settled(max(0.0, deadline - self._clock()))
        results = [self._result(model) for model in self._configuration.models()]
        return _response(results, settled)

    def _models(self, configs: Sequence[Any]) -> list[ModelConfig]:
        """The request's models. What it cannot say stays as it is for a model that is there already."""
        known = {model.name: model for model in self._configuration.models()}
        models = []
        for number, config in enumerate(configs):
            where = f"model_config_list.config[{number}]"
            asked = _read(config.name, name, f"{where}.name")
            base_path = _read(config.base_path, path, f"{where}.base_path")
            models.append(
                replace(
                    known.get(asked) or ModelConfig(asked, base_path),
                    base_path=base_path,
                    version_policy=_policy(config.model_version_policy, where),
                    version_labels=_read(dict(config.version_labels), parse_version_labels, f"{where}.version_labels"),
                )
            )
        return models

    def _result(self, model: ModelConfig) -> ModelResult:
        if problem := self._configuration.problem(model.name):
            return ModelResult(model.name, problem)
        try:
            states = self._configuration.status(model.name)
        except ServingError as error:
            return ModelResult(model.name, error.message)
        failed = [f"version {state.id.version}: {state.error_message}" for state in states if state.error_message]
        if failed:
            return ModelResult(model.name, "; ".join(failed))
        if not any(state.state is State.AVAILABLE for state in states):
            loading = [str(state.id.version) for state in states if state.state < State.AVAILABLE]
            return ModelResult(
                model.name, f"still loading: {', '.join(loading)}" if loading else "no version is served"
            )
        given = self._configuration.labels(model.name)
        for label, version in model.version_labels.items():
            if given.get(label) != version:
                return ModelResult(model.name, f"label {label}: version {version} is not available")
        return ModelResult(model.name)


def _read(value: object, reader: Callable[[object], T], where: str) -> T:
    """Read a field as the configuration file's key of that name is read."""
    try:
        return reader(value)
    except ConfigError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"{where}: {explain(error, value, as_json)}") from None


def _policy(policy: Any, where: str) -> VersionPolicy:
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "all":
        return All()
    if chosen == "specific":
        if not policy.specific.versions:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"{where}.model_version_policy.specific: versions must not be empty"
            )
        return Specific(frozenset(policy.specific.versions))
    # In this message 0 is the same as absent, which means 1.
    return Latest(policy.latest.num_versions or 1)


def _response(results: Sequence[ModelResult], settled: bool) -> bytes:
    response = messages.ReloadConfigResponse()
    response.status.SetInParent()
    problems = [f"model {result.name}: {result.problem}" for result in results if result.problem]
    if not settled:
        response.status.error_code = int(Code.DEADLINE_EXCEEDED)
        problems.insert(0, "not all models were tried within the deadline")
    elif problems:
        response.status.error_code = int(Code.FAILED_PRECONDITION)
    response.status.error_message = "; ".join(problems)
    return bytes(response.SerializeToString())
