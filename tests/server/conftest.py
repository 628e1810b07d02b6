"""The client of this tree on the path, and what several modules share: a server, a browser for each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))

from chromium import Browser
from grpc_engines import ENGINES
from model_gallery import ALL_VERSIONS, Gallery, build_gallery
from server_under_test import EXACT, Stubs, serving


@contextmanager
def serving_gallery(root: Path, *options: str) -> Iterator[Gallery]:
    versions = build_gallery(root)
    # Several threads and infer requests, whatever the machine has.
    options = (*ALL_VERSIONS, *EXACT, "--nireq", "4", "--grpc_workers", "16", *options)
    with serving(root / "gallery", *options) as server, Stubs(server.address) as stubs:
        yield Gallery(server, stubs, versions, root / "gallery")


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with serving_gallery(tmp_path_factory.mktemp("gallery")) as gallery:
        yield gallery


@pytest.fixture(scope="session", params=ENGINES)
def each_gallery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """One on each gRPC engine: a module whose ``gallery`` is this one has its tests run on both."""
    with serving_gallery(tmp_path_factory.mktemp("each"), "--grpc_engine", request.param) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
