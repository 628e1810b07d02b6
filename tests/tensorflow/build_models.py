"""Run by the server's Python, which has OpenVINO: writes the models of these tests and prints their versions as JSON.

All of them are versions of one model, ``gallery``, so that one server has them all.
"""

import json
import sys
from pathlib import Path

from tests.models import synthetic

root = Path(sys.argv[1])
builders = {
    "add": lambda version: synthetic.add(1, root, "gallery", version),
    "two": lambda version: synthetic.two_in_two_out(root, "gallery", version),
    "scalar": lambda version: synthetic.scalar_input(root, "gallery", version),
}
for dtype in synthetic.DTYPES:
    builders[dtype] = lambda version, dtype=dtype: synthetic.identity(dtype, [-1, 3], root, "gallery", version)
versions = {name: version for version, name in enumerate(builders, start=1)}
for name, version in versions.items():
    builders[name](version)
print(json.dumps(versions))
