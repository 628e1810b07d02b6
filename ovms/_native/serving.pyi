from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

class _Preprocessing(Protocol):
    @property
    def layout(self) -> str | None: ...
    @property
    def precision(self) -> str | None: ...
    @property
    def color_format(self) -> str | None: ...
    @property
    def mean(self) -> Sequence[float]: ...
    @property
    def scale(self) -> Sequence[float]: ...

@dataclass(frozen=True, slots=True)
class CallTrace:
    name: str
    version: int
    checked: float | None
    waited: float | None
    bound: float | None
    inferred: float | None
    packed: float | None

@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    tensor_name: str
    dtype: str
    tf_dtype: int
    shape: tuple[int, ...] | None
    example: tuple[int, ...] = ()

@final
class Model:
    def __init__(self, *args: object, **kwargs: object) -> None: ...  # raises TypeError
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def nireq(self) -> int: ...
    @property
    def streams(self) -> int: ...
    @property
    def small(self) -> bool: ...
    @property
    def compilations(self) -> int: ...
    @property
    def shape_hits(self) -> int | None: ...
    @property
    def in_use(self) -> int: ...
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    def take_turns(self, on: bool) -> None: ...
    def wait_unused(self, timeout: float | None = None) -> bool: ...
    def unload(self) -> None: ...

@final
class Core:
    def __init__(self, *, cache_dir: str = "", extension: str = "") -> None: ...
    def load(
        self,
        name: str,
        version: int,
        path: str,
        *,
        device: str = "CPU",
        config: Mapping[str, str] | None = None,
        config_if_small: Mapping[str, str] | None = None,
        nireq: int = 0,
        input_names: Mapping[str, str] | None = None,
        output_names: Mapping[str, str] | None = None,
        shapes: Mapping[str, str] | None = None,
        batch: int = 0,
        compiled_shapes: int = 0,
        preprocessing: Mapping[str, _Preprocessing] | None = None,
        max_queue: int | None = None,
    ) -> Model: ...
    def devices(self) -> list[str]: ...

@final
class Registry:
    def publish(self, model: Model) -> None: ...
    def replace(self, model: Model) -> None: ...
    def withdraw(self, name: str, version: int) -> None: ...
    def set_labels(self, name: str, labels: Mapping[str, int]) -> None: ...
    def resolve(self, name: str, version: int = 0, label: str | None = None) -> Model: ...
    def versions(self, name: str) -> list[int]: ...

@final
class ClientLeft:
    def __call__(self, *args: Any, **kwargs: Any) -> None: ...  # takes none

def predict(
    registry: Registry,
    request: Any,
    timeout: float | None = None,
    left: ClientLeft | None = None,
    *,
    typed_lists: bool = False,
    strict_dtypes: bool = False,
    trace: Callable[[CallTrace], object] | None = None,
) -> bytes: ...
def predict_json(
    registry: Registry,
    name: str,
    version: int,
    label: str | None,
    body: Any,
    timeout: float | None = None,
    *,
    trace: Callable[[CallTrace], object] | None = None,
) -> bytes: ...
def keep_freed_memory() -> None: ...
def openvino_version() -> str: ...
