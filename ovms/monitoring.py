"""What a running server tells of itself at ``/metrics``: collected when somebody asks."""

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import replace

from ovms import __version__, _native
from ovms.access.gate import Gate
from ovms.core.servable import ServableState, State
from ovms.errors import ServingError
from ovms.frontends.native import NativeFrontEnd
from ovms.frontends.tls import Tls
from ovms.metrics import Events, ModelGauges, Page, Snapshot
from ovms.model_set import ModelSet


class Monitoring:
    """The page of metrics of one server."""

    def __init__(self, registry: _native.Registry, gate: Gate, engines: Mapping[str, str]) -> None:
        """``engines``: what computes on each interface."""
        self.events = Events()
        self.page = Page(self._snapshot, self.events.lines)
        self.native: NativeFrontEnd | None = None
        """Counts calls, if there is one."""

        self.models: ModelSet | None = None
        self.tls: Tls | None = None
        self._registry = registry
        self._gate = gate
        self._build = {
            "version": __version__,
            "openvino": _native.openvino_version(),
            "python": platform.python_version(),
            **engines,
        }

    def _snapshot(self) -> Snapshot:
        models = self._models()
        now = self.native.snapshot(models) if self.native else Snapshot(models=models)
        states = self._states()
        return replace(
            now,
            states=[state for of_model in states.values() for state in of_model],
            available={
                name: sum(state.state is State.AVAILABLE for state in of_model) for name, of_model in states.items()
            },
            refusals={**now.refusals, **self._gate.counts()},
            tls_failures={**(now.tls_failures or {}), **self.tls.failures()} if self.tls else None,
            certificate_end=self.tls.certificate_end if self.tls else None,
            build=self._build,
        )

    def _models(self) -> list[ModelGauges]:
        waiting = self.native.waiting if self.native else _nothing_waits
        found = []
        for name in self._names():
            for version in self._registry.versions(name):
                with contextlib.suppress(ServingError):  # it has gone in this moment
                    one = self._registry.resolve(name, version)
                    found.append(
                        ModelGauges(
                            name, version, one.nireq, one.streams, one.in_use, waiting(name, version),
                            one.compilations, one.shape_hits,
                        )
                    )  # fmt: skip
        return found

    def _states(self) -> dict[str, list[ServableState]]:
        """Of each configured model; none of one of which no version was ever found."""
        states: dict[str, list[ServableState]] = {}
        for name in self._names():
            states[name] = []
            with contextlib.suppress(ServingError):  # its store cannot be read, or it was removed in this moment
                assert self.models is not None
                states[name] = self.models.status(name)
        return states

    def _names(self) -> list[str]:
        return [model.name for model in self.models.models()] if self.models else []


def _nothing_waits(name: str, version: int) -> int:
    return 0
