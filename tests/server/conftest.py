"""The client of this tree on the path, and the server that several modules share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))

from model_gallery import ALL_VERSIONS, Gallery, build_gallery
from server_under_test import EXACT, Stubs, serving


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    root = tmp_path_factory.mktemp("gallery")
    versions = build_gallery(root)
    # Several threads and infer requests, whatever the machine has.
    options = (*ALL_VERSIONS, *EXACT, "--nireq", "4", "--grpc_workers", "16")
    with serving(root / "gallery", *options) as server, Stubs(server.address) as stubs:
        yield Gallery(server, stubs, versions, root / "gallery")
