"""Storage rows: downloading a large model from an S3 server, next to boto3's own download; looking at many."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, ManagedServer
from benchmarks.report import Section, Table, Target, times
from tests.models import synthetic

TEXT = """
SeaweedFS on this machine, over loopback, which takes processor time from whoever downloads. Each download is a process
of its own, which has listed the model before: ours into its cache, with all checksums; boto3's `download_file` with its
defaults into a file. In turn, and the best round of each counts. Memory: the peak beyond what the process had before.
"""

MODELS = 100
MOST_MEMORY = 64 << 20
PATIENCE = 120.0
KEYS = ("testadmin", "testadminsecret")
MB = 1 << 20


def run(quick: bool) -> Section:
    """Measure downloads and idle polls; needs ``weed`` and boto3, as the tests do."""
    section = Section("Object stores", TEXT)
    with _store() as (url, client):
        _downloads(section, url, client, size=256 if quick else 1024, rounds=3 if quick else 7)
        _polls(section, url, client, seconds=10 if quick else 30)
    return section


@contextlib.contextmanager
def _store() -> Iterator[tuple[str, Any]]:
    from tests.storage import servers

    with servers.seaweedfs() as server:
        yield server.url, server.client


def _environment() -> dict[str, str]:
    return os.environ | {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}


def _downloads(section: Section, url: str, client: Any, size: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        large, block = Path(name, "large"), random.Random(1).randbytes(MB)
        with large.open("wb") as file:
            for number in range(size):
                file.write(number.to_bytes(8, "big") + block[8:])
        client.upload_file(str(large), "models", "large/1/model.bin")
        large.unlink()
        best: dict[str, dict[str, float]] = {}
        for _ in range(rounds):
            for kind in ("ovms", "boto3"):
                folder = Path(name, kind)
                command = [sys.executable, "-m", "benchmarks.storage_download", kind, url, "models", "large", folder]
                done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True)
                shutil.rmtree(folder)
                found: dict[str, float] = json.loads(done.stdout)
                known = best.setdefault(kind, found)
                best[kind] = {
                    "seconds": min(known["seconds"], found["seconds"]),
                    "cpu": min(known["cpu"], found["cpu"]),
                    "memory": max(known["memory"], found["memory"]),
                }
    rows = [
        [kind, f"{size / one['seconds']:,.0f} MiB/s", f"{one['cpu']:.2f} s", f"{one['memory'] / MB:.0f} MiB"]
        for kind, one in best.items()
    ]
    section.tables.append(
        Table("One download", f"A model of one file of {size} MiB.", ["", "rate", "processor time", "memory"], rows)
    )
    ratio = best["boto3"]["seconds"] / best["ovms"]["seconds"]
    section.targets.append(
        Target(f"a model of {size} MiB downloads at 0.9 of boto3's own rate", times(ratio), ratio >= 0.9)
    )
    memory = best["ovms"]["memory"]
    section.targets.append(
        Target(f"a download of {size} MiB takes less than 64 MiB", f"{memory / MB:.0f} MiB", memory < MOST_MEMORY)
    )


def _polls(section: Section, url: str, client: Any, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        origin = synthetic.null_model(root / "origin", version=1)
        entries = []
        for number in range(MODELS):
            for path in (origin / "1").iterdir():
                client.upload_file(str(path), "models", f"idle/m{number}/1/{path.name}")
            place = {"base_path": f"s3://models/idle/m{number}", "endpoint": url}
            entries.append({"config": {"name": f"m{number}", "nireq": 1, **place}})
        config = root / "models.json"
        config.write_text(json.dumps({"model_config_list": entries}))
        options = ("--file_system_poll_wait_seconds", "1", "--remote_poll_wait_seconds", "0")
        before = dict(os.environ)
        os.environ.update(_environment())
        try:
            with ManagedServer(config, *options, "--model_cache", str(root / "cache")) as server:
                deadline = time.monotonic() + PATIENCE
                while "gRPC server listens on port" not in server.log():
                    if time.monotonic() > deadline:
                        raise RuntimeError(server.log()[-2000:])
                    time.sleep(0.02)
                time.sleep(3)
                used, began = server.cpu_seconds(), time.monotonic()
                time.sleep(seconds)
                share = (server.cpu_seconds() - used) / (time.monotonic() - began)
        finally:
            os.environ.clear()
            os.environ.update(before)
    section.targets.append(
        Target(
            f"looking at {MODELS} models on S3 every second takes less than 5 % of a core", f"{share:.1%}", share < 0.05
        )
    )
