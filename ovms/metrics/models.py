"""What the served versions have, do, and are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ovms.core.servable import ServableState, State
from ovms.errors import Code
from ovms.metrics.text import family


@dataclass(frozen=True)
class ModelGauges:
    """What one served version has and does at this moment."""

    name: str
    version: int
    nireq: int
    streams: int
    in_use: int
    """Requests that hold the model."""
    waiting: int
    """Of these, how many wait for a thread."""
    compilations: int = 1
    """How often it was compiled."""
    shape_hits: int | None = None
    """How many requests found their shape compiled; None: it is not compiled apart for each shape."""

    @property
    def active(self) -> int:
        """Infer requests that are in use, at most."""
        return max(0, min(self.nireq, self.in_use - self.waiting))  # the two were read one after the other


def model_lines(models: Sequence[ModelGauges]) -> Iterator[str]:
    """Infer requests and their use, compiled shapes."""
    gauges: list[tuple[str, str, Callable[[ModelGauges], int]]] = [
        ("ovms_streams", "Inferences that OpenVINO really runs at once.", lambda one: one.streams),
        ("ovms_infer_req_queue_size", "Infer requests of a version.", lambda one: one.nireq),
        (
            "ovms_infer_req_active",
            "Infer requests that are in use, at most.",
            lambda one: one.active,
        ),
        ("ovms_current_requests", "Predictions under way.", lambda one: one.in_use),
        ("ovms_waiting_requests", "Predictions that wait for a thread.", lambda one: one.waiting),
    ]
    for name, text, value in gauges:
        yield from family(name, "gauge", text, ((_labels(one), value(one)) for one in models))
    yield from family(
        "ovms_model_compilations_total", "counter",
        "How often a version was compiled: once, then for new shapes and after failures.",
        ((_labels(one), one.compilations) for one in models),
    )  # fmt: skip
    yield from family(
        "ovms_compiled_shape_hits_total", "counter",
        "Predictions that found their shape compiled, of versions that are compiled for each shape.",
        ((_labels(one), one.shape_hits) for one in models if one.shape_hits is not None),
    )  # fmt: skip


def state_lines(states: Sequence[ServableState], available: Mapping[str, int]) -> Iterator[str]:
    """Where each version is in its life; one that has ended is not told of any more.

    ``available``: how many versions of each configured model answer.
    """
    alive = [state for state in states if state.state is not State.END]
    yield from family(
        "ovms_model_available_versions", "gauge", "Versions of a configured model that are AVAILABLE.",
        (({"name": name}, count) for name, count in available.items()),
    )  # fmt: skip
    yield from family(
        "ovms_model_state", "gauge", "1 for the state that a version is in, 0 for the others.",
        ((_state_labels(one) | {"state": state.name}, int(one.state is state))
         for one in alive for state in State if state is not State.END),
    )  # fmt: skip
    yield from family(
        "ovms_model_error", "gauge", "1 for a version whose last load has failed, else 0.",
        ((_state_labels(one), int(one.error_code is not Code.OK)) for one in alive),
    )  # fmt: skip


def _labels(one: ModelGauges) -> dict[str, str]:
    return {"name": one.name, "version": str(one.version)}


def _state_labels(one: ServableState) -> dict[str, str]:
    return {"name": one.id.name, "version": str(one.id.version)}
