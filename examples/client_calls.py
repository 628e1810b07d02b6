"""`ovms_client` for the scripts: failures that say which server and which model they are about, and a model's input."""

from collections.abc import Iterator
from contextlib import contextmanager

from ovms_client import ModelMetadata, ServerError

from examples.client_options import ExampleError


@contextmanager
def asking(target: str, model: str) -> Iterator[None]:
    """Turns whatever a client raises into an `ExampleError`."""
    try:
        yield
    except ServerError as error:
        raise ExampleError(f"{target}, model {model!r}: {error}") from error
    except (ValueError, TypeError) as error:  # what cannot be sent, and replies that cannot be read
        raise ExampleError(f"{target}, model {model!r}: {error}") from error


def choose_input(model: ModelMetadata, name: str | None) -> str:
    """The input of that name, or the only one."""
    if name is None and len(model.inputs) == 1:
        return next(iter(model.inputs))
    if name not in model.inputs:
        problem = "takes several inputs: choose one" if name is None else f"has no input {name!r}"
        raise ExampleError(f"model {model.name!r} {problem}; its inputs: {', '.join(sorted(model.inputs))}")
    return name
