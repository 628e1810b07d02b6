"""How a call of the package ended, as a value."""

from collections.abc import Callable
from typing import Any

import pytest

from ovms import _native
from ovms.errors import Code, ServingError


def outcome(call: Callable[..., Any], *arguments: Any) -> tuple[Any, ServingError | None]:
    """(what the call returned, None) or (None, the ServingError); whatever else it raises goes on its way."""
    try:
        return call(*arguments), None
    except ServingError as error:
        return None, error


def refused(registry: _native.Registry, data: bytes, code: Code = Code.INVALID_ARGUMENT, **options: Any) -> str:
    """The message of the ServingError with this code that predict must end with."""
    with pytest.raises(ServingError) as error:
        _native.predict(registry, data, **options)
    assert error.value.code is code
    return error.value.message
