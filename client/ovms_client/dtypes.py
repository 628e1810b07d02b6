"""Element types: one table of TensorFlow's DataType numbers, NumPy dtypes and value lists."""

from typing import Any, NamedTuple

import numpy as np

from .errors import DecodeError
from .wire import FIXED32, FIXED64, VARINT


class ElementType(NamedTuple):
    """A numeric element type of TensorProto."""

    number: int
    """Value of the DataType enum."""
    name: str
    """Name of the NumPy dtype."""
    list_field: int
    """TensorProto field that may hold the values instead of ``tensor_content``."""
    list_wire_type: int
    """Wire type of one value in that field."""


ELEMENT_TYPES: tuple[ElementType, ...] = (
    ElementType(1, "float32", 5, FIXED32),
    ElementType(2, "float64", 6, FIXED64),
    ElementType(3, "int32", 7, VARINT),
    ElementType(4, "uint8", 7, VARINT),
    ElementType(5, "int16", 7, VARINT),
    ElementType(6, "int8", 7, VARINT),
    ElementType(8, "complex64", 9, FIXED32),
    ElementType(9, "int64", 10, VARINT),
    ElementType(10, "bool", 11, VARINT),
    ElementType(14, "bfloat16", 13, VARINT),
    ElementType(17, "uint16", 7, VARINT),
    ElementType(18, "complex128", 12, FIXED64),
    ElementType(19, "float16", 13, VARINT),
    ElementType(22, "uint32", 16, VARINT),
    ElementType(23, "uint64", 17, VARINT),
)
STRING = 7
STRING_NAME = "string"

# TensorFlow's names that are not "DT_" and NumPy's.
_OTHER_NAMES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_STRING": STRING_NAME}

BY_NUMBER = {element.number: element for element in ELEMENT_TYPES}
BY_NAME = {element.name: element for element in ELEMENT_TYPES}
BY_ENUM_NAME = {f"DT_{name.upper()}": name for name in BY_NAME} | _OTHER_NAMES
"""NumPy's name, or "string", for the names of DataType's values."""


def type_name(number: int) -> str:
    """Name of a DataType: a NumPy dtype's name, "string", or "DataType(N)" for any other."""
    if number == STRING:
        return STRING_NAME
    return BY_NUMBER[number].name if number in BY_NUMBER else f"DataType({number})"


def numpy_dtype(element: ElementType) -> np.dtype[Any]:
    """The little-endian NumPy dtype of an element type.

    Raises DecodeError for bfloat16 when ml_dtypes, which defines its dtype, is not installed.
    """
    dtype: np.dtype[Any]
    if element.name == "bfloat16":
        try:
            # Optional, and not needed before the first bfloat16 tensor.
            import ml_dtypes  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise DecodeError("a bfloat16 tensor needs the package ml_dtypes") from None
        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(element.name).newbyteorder("<")
    return dtype
