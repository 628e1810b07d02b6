"""The server for TensorFlow Serving's own client library.

These tests run in a Python that has tensorflow-serving-api (``make test-tf``). The server runs in another, which
``OVMS_SERVER_PYTHON`` names: neither has what the other has.
"""

import importlib.util
from collections.abc import Iterator

import pytest
from gallery_server import Gallery, serving_gallery

# The project's own test run has no TensorFlow, and nothing to do here.
collect_ignore_glob = [] if importlib.util.find_spec("tensorflow_serving") else ["test_*.py"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with serving_gallery(tmp_path_factory.mktemp("models")) as gallery:
        yield gallery
