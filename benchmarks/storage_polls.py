"""What it costs to look at many models in a store that do not change."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.process import ManagedServer
from benchmarks.storage_servers import CONTAINER, StorageServer
from tests.models import synthetic

MODELS: Final = 100
PATIENCE: Final = 120.0
SETTLE_SECONDS: Final = 3.0


def processor_share(store: StorageServer, seconds: float) -> float:
    """Of one core, of a server that looks at MODELS models of two files every second, once all are served."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        origin = synthetic.null_model(root / "origin", version=1)
        entries = []
        for number in range(MODELS):
            for path in (origin / "1").iterdir():
                store.upload(path, f"idle/m{number}/1/{path.name}")
            place = {
                "base_path": f"{store.scheme}://{CONTAINER}/idle/m{number}",
                "endpoint": store.listing_endpoint,
            }
            entries.append({"config": {"name": f"m{number}", "nireq": 1, **place}})
        config = root / "models.json"
        config.write_text(json.dumps({"model_config_list": entries}))
        options = ("--file_system_poll_wait_seconds", "1", "--remote_poll_wait_seconds", "0")
        with (
            _variables(store.listing),
            ManagedServer(config, *options, "--model_cache", str(root / "cache")) as server,
        ):
            deadline = time.monotonic() + PATIENCE
            while "gRPC server listens on port" not in server.log():
                if time.monotonic() > deadline:
                    raise RuntimeError(server.log()[-2000:])
                time.sleep(0.02)
            time.sleep(SETTLE_SECONDS)
            used, began = server.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            return (server.cpu_seconds() - used) / (time.monotonic() - began)


@contextlib.contextmanager
def _variables(more: Mapping[str, str]) -> Iterator[None]:
    """This process's environment with more in it, for its children."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
