"""The client of this tree and the other tests' servers on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "client"))
sys.path += [str(Path(__file__).parents[1] / "server")]
