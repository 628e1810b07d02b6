"""Where downloaded models are kept for a user who has named no folder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that nobody knows")
def test_a_user_without_a_home() -> None:
    """As containers make them up: without a name, and without HOME."""
    code = (
        "import os; from ovms.storage.opening import default_cache; os.environ.pop('HOME', None); "
        "os.environ.pop('XDG_CACHE_HOME', None); os.setuid(54321); print(default_cache())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(Path(tempfile.gettempdir(), "ovms-models-54321")), done.stderr
