"""Every synthetic model behind one server: a process is dear, a version cheap."""

from dataclasses import dataclass
from pathlib import Path

from server_under_test import Server, Stubs

from tests.models import synthetic

ALL_VERSIONS = ("--model_version_policy", '{"all": {}}')


@dataclass
class Gallery:
    """One server whose model ``gallery`` has every synthetic model as a version."""

    server: Server
    stubs: Stubs
    versions: dict[str, int]
    folder: Path

    @property
    def address(self) -> str:
        return self.server.address


def build_gallery(root: Path) -> dict[str, int]:
    builders = {
        "add": lambda version: synthetic.add(1, root, "gallery", version),
        "two": lambda version: synthetic.two_in_two_out(root, "gallery", version),
        "dynamic": lambda version: synthetic.dynamic(root, "gallery", version),
        "ranges": lambda version: synthetic.ranges(root, ((1, 4), 3, (4, 8), (4, 8)), "gallery", version),
        "scalar": lambda version: synthetic.scalar_input(root, "gallery", version),
        "image": lambda version: synthetic.image_model(root, "gallery", version),
        "null": lambda version: synthetic.null_model(root, 1, "gallery", version),
        "wide": lambda version: synthetic.identity("f32", [-1, -1], root, "gallery", version),
        "rank0": lambda version: synthetic.identity("f32", [], root, "gallery", version),
    }
    for dtype in synthetic.DTYPES:
        builders[dtype] = lambda version, dtype=dtype: synthetic.identity(dtype, [-1, 3], root, "gallery", version)
    versions = {name: version for version, name in enumerate(builders, start=1)}
    for name, version in versions.items():
        builders[name](version)
    return versions
