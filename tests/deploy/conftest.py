"""The client of this tree, and the servers of the other tests, theirs and the stores, on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))
sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("server", "storage")]
