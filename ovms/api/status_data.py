"""What the status page shows, as JSON: the models and the server, and what was counted.

The forms are the page's own and change with it; programs ask ``/v1/models`` and ``/metrics``.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ovms import __version__
from ovms.api.rest_models import known_states
from ovms.api.tfs import DATA_TYPES, Models, TensorSpec
from ovms.config import ModelConfig
from ovms.core.servable import ServableState, State
from ovms.errors import Code, ServingError
from ovms.metrics import CallCounts, ModelGauges, Snapshot

MICROSECONDS: Final = 1e6


class Observed(Protocol):
    """The models of a running server, and what is known of them."""

    def models(self) -> Sequence[ModelConfig]: ...
    def status(self, name: str, version: int = 0) -> list[ServableState]: ...
    def labels(self, name: str) -> Mapping[str, int]: ...
    def problem(self, name: str) -> str: ...


@dataclass(frozen=True)
class ServerFacts:
    """What else the page tells of a server."""

    openvino: str = ""
    """Its version."""

    grpc_port: Callable[[], int] = lambda: 0
    """0: there is none yet."""

    grpc_tls: bool = False

    needs_keys: bool = False

    uncounted: tuple[str, ...] = ()
    """Interfaces whose calls are not counted."""

    started: float = field(default_factory=time.monotonic)

    process: str = field(default_factory=lambda: secrets.token_hex(8))
    """Of no other server, nor of this one after another start."""


class StatusData:
    """Answers the page's questions."""

    def __init__(
        self, models: Models, observed: Observed, snapshot: Callable[[], Snapshot], facts: ServerFacts
    ) -> None:
        """``snapshot`` collects the numbers when they are asked for."""
        self._models = models
        self._observed = observed
        self._snapshot = snapshot
        self._facts = facts

    def models(self, figures: bool) -> bytes:
        """The server, and every configured model with its versions. ``figures``: whether this port tells them."""
        facts = self._facts
        return _json(
            {
                "version": __version__,
                "openvino": facts.openvino,
                "uptime_seconds": round(time.monotonic() - facts.started, 3),
                "grpc": {"port": facts.grpc_port(), "tls": facts.grpc_tls},
                "keys": facts.needs_keys,
                "figures": figures,
                "models": [self._model(model.name) for model in self._observed.models()],
            }
        )

    def figures(self) -> bytes:
        """What was counted since the start, and what is under way; durations as a histogram of microseconds.

        ``seconds`` is the server's clock, by which two answers of one ``process`` make a rate.
        """
        now = self._snapshot()
        return _json(
            {
                "process": self._facts.process,
                "seconds": round(time.monotonic() - self._facts.started, 6),
                "uncounted": self._facts.uncounted,
                "bounds_us": [bound * MICROSECONDS for bound in now.bounds],
                "calls": [_calls(one) for one in now.calls],
                "models": [_gauges(one) for one in now.models],
                "connections": now.connections,
                "refused": {name: sum(counts.values()) for name, counts in now.refusals.items()},
                "request_bytes": now.request_bytes,
            }
        )

    def _model(self, name: str) -> dict[str, Any]:
        states = known_states(self._observed, name) or []
        return {
            "name": name,
            "problem": self._observed.problem(name),
            "labels": {label: str(version) for label, version in self._observed.labels(name).items()},
            "versions": [_version(state) | self._signature(state) for state in states],
        }

    def _signature(self, state: ServableState) -> dict[str, Any]:
        if state.state is State.AVAILABLE:
            with contextlib.suppress(ServingError):  # it has gone in this moment
                model = self._models.resolve(state.id.name, state.id.version)
                return {
                    "inputs": list(_tensors(model.inputs, with_example=True)),
                    "outputs": list(_tensors(model.outputs, with_example=False)),
                }
        return {}


def _version(state: ServableState) -> dict[str, Any]:
    return {
        "version": str(state.id.version),  # beyond 2^53 JavaScript has not every number
        "state": state.state.name,
        "error_code": state.error_code.name,
        "error_message": state.error_message,
    }


def _tensors(tensors: Sequence[TensorSpec], with_example: bool) -> Iterator[dict[str, Any]]:
    for tensor in tensors:
        told: dict[str, Any] = {"name": tensor.name, "dtype": DATA_TYPES[tensor.tf_dtype], "shape": tensor.shape}
        yield told | {"example": tensor.example} if with_example else told


def _calls(one: CallCounts) -> dict[str, Any]:
    buckets, seconds = one.total
    ok = one.calls.get(Code.OK.value, 0)
    return {
        "model": one.model,
        "version": str(one.version),
        "interface": one.interface,
        "method": one.method,
        "ok": ok,
        "failed": sum(one.calls.values()) - ok,
        "buckets": buckets,
        "sum_us": seconds * MICROSECONDS,
    }


def _gauges(one: ModelGauges) -> dict[str, Any]:
    return {
        "model": one.name,
        "version": str(one.version),
        "nireq": one.nireq,
        "active": one.active,
        "current": one.in_use,
        "waiting": one.waiting,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
