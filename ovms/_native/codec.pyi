from collections.abc import Iterable
from typing import Any, TypedDict, type_check_only

@type_check_only
class DTypeRow(TypedDict):
    openvino: str
    tf_name: str
    tf: int
    kserve: str
    numpy: str
    size: int
    list_field: int
    content: bool

def dtypes() -> list[DTypeRow]: ...
def check_predict_request(request: Any) -> None: ...
def decode_tensor(proto: Any, to: str | None = None) -> tuple[str, tuple[int, ...], bytearray | list[bytes]]: ...
def view_tensor(proto: Any) -> tuple[int, tuple[int, ...], memoryview]: ...
def encode_tensor(dtype: str, shape: Iterable[int], values: Any, *, typed_lists: bool = False) -> bytes: ...
