"""The project's root, its client, and helpers of other tests on the path, wherever pytest is started."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "client")]
sys.path += [str(ROOT / "tests" / folder) for folder in ("server", "docs")]
