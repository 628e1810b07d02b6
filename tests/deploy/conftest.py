"""The client of this tree, and the servers of the other tests, on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))
sys.path.append(str(Path(__file__).parents[1] / "server"))
