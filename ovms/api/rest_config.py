"""REST's view of the configuration: what is configured, and having the file read again."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ovms.api.rest_models import known_states, page, version_status
from ovms.config import ModelConfig
from ovms.core.servable import ServableState
from ovms.errors import Code, ServingError
from ovms.protos import tensorflow_serving as messages

RELOADED: Final = "201 Created"
UNCHANGED: Final = "200 OK"

_THE_FILE: Final = messages.ReloadConfigRequest().SerializeToString()

ReloadCall = Callable[[bytes, float | None], bytes]
"""A ReloadConfigRequest and the seconds it may take -> a ReloadConfigResponse; or a ServingError."""


class Configured(Protocol):
    """The models of a running server."""

    def models(self) -> Sequence[ModelConfig]: ...
    def status(self, name: str, version: int = 0) -> list[ServableState]: ...


class ConfigPages:
    """Answers what is asked about the configuration, as JSON: for each model a GetModelStatusResponse."""

    def __init__(self, configured: Configured, reload: ReloadCall) -> None:
        self._configured = configured
        self._reload = reload

    def statuses(self) -> bytes:
        """Every configured model -> the states of its versions."""
        return page({name: version_status(states) for name, states in self._states().items()})

    def reload(self, timeout: float | None) -> tuple[str, bytes]:
        """Have the file read again and the repositories looked at, and wait for what that starts.

        A status, which tells whether there was anything to do, and what ``statuses`` then says. ServingError if
        something is wrong with the file, or if there is none (nothing has changed then), or if a model cannot serve
        what the file says; DEADLINE_EXCEEDED if ``timeout`` seconds were not enough to know.
        """
        before = self._configured.models(), self._states()
        status = messages.ReloadConfigResponse.FromString(self._reload(_THE_FILE, timeout)).status
        if status.error_code:
            raise ServingError(Code(status.error_code), status.error_message)
        after = self._configured.models(), self._states()
        return (UNCHANGED if after == before else RELOADED), self.statuses()

    def _states(self) -> dict[str, list[ServableState]]:
        states = {}
        for model in self._configured.models():
            if (known := known_states(self._configured, model.name)) is not None:
                states[model.name] = known
        return states
