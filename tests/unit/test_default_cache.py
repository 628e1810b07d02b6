"""Where downloaded models are kept for a user who has named no folder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ovms.errors import ConfigError
from ovms.storage.opening import default_cache


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that nobody knows")
def test_a_user_without_a_home() -> None:
    """As containers make them up: without a name, and without HOME."""
    code = (
        "import os; from ovms.storage.opening import default_cache; os.environ.pop('HOME', None); "
        "os.environ.pop('XDG_CACHE_HOME', None); os.setuid(54321); print(default_cache())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(Path(tempfile.gettempdir(), "ovms-models-54321")), done.stderr


def test_somebody_else_s_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")
    place = tmp_path / f"ovms-models-{os.geteuid()}"
    assert default_cache() == place
    assert place.stat().st_mode & 0o777 == 0o700, "made at once, so that nobody else can"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="give a folder for downloaded models: --model_cache"):
        default_cache()
