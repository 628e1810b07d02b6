"""Storage rows: downloading a large model from each kind of store, next to its SDK's own download; looking at many."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import storage_polls
from benchmarks.process import ROOT
from benchmarks.report import Section, Table, Target, times
from benchmarks.storage_servers import CONTAINER, NOT_INSTALLED, SERVERS, StorageServer

TEXT = """
SeaweedFS, fake-gcs-server and Azurite on this machine, over loopback, which take processor time from whoever downloads.
Each download is a process of its own, which has listed the model before: ours into its cache, with all checksums; the
SDK's (boto3's `download_file`, google-cloud-storage's `download_to_filename`, azure-storage-blob's `readinto`) with its
defaults into a file. In turn, and the best round of each counts. Memory: the peak beyond what the process had before.
"""

MIB: Final = 1024
"""Size of the model; of one that is downloaded quickly, a quarter."""

MOST_MEMORY: Final = 64 << 20
MOST_SHARE: Final = 0.05
LEAST_RATE: Final = 0.9

_MB: Final = 1 << 20


def run(quick: bool, mib: int | None = None) -> Section:
    """Measure downloads of a model of ``mib`` MiB, and idle polls; needs the servers and SDKs of the tests."""
    section = Section("Object stores", TEXT)
    size = mib or (MIB // 4 if quick else MIB)
    rows: list[list[str]] = []
    for name, start in SERVERS.items():
        with contextlib.ExitStack() as running:
            try:
                store = running.enter_context(start())
            except NOT_INSTALLED as missing:
                section.text += f"\nNot measured: {name}: {missing}\n"
                continue
            rows += _downloads(section, store, size, rounds=3 if quick else 5)
        with start() as store:  # anew: one that has a large object in memory is slower
            _polls(section, store, seconds=10 if quick else 30)
    heads = ["", "", "rate", "processor time", "memory"]
    section.tables.append(Table("One download", f"A model of one file of {size} MiB.", heads, rows))
    return section


def _downloads(section: Section, store: StorageServer, size: int, rounds: int) -> list[list[str]]:
    """Rows of the table, for us and for the SDK."""
    with tempfile.TemporaryDirectory() as name:
        _store_large(store, Path(name, "large"), size)
        best: dict[str, Mapping[str, float]] = {}
        for _ in range(rounds):
            for kind in ("ovms", "sdk"):
                folder = Path(name, kind)
                found = _download(kind, store, folder)
                shutil.rmtree(folder)
                known = best.get(kind, found)
                best[kind] = {
                    "seconds": min(known["seconds"], found["seconds"]),
                    "cpu": min(known["cpu"], found["cpu"]),
                    "memory": max(known["memory"], found["memory"]),
                }
    ratio, memory = best["sdk"]["seconds"] / best["ovms"]["seconds"], best["ovms"]["memory"]
    what = f"a model of {size} MiB from {store.name}"
    section.targets += [
        Target(f"{what} downloads at {LEAST_RATE} of the SDK's own rate", times(ratio), ratio >= LEAST_RATE),
        Target(f"{what} takes less than 64 MiB to download", f"{memory / _MB:.0f} MiB", memory < MOST_MEMORY),
    ]
    return [
        [
            store.name, "ovms" if kind == "ovms" else store.sdk, f"{size / one['seconds']:,.0f} MiB/s",
            f"{one['cpu']:.2f} s", f"{one['memory'] / _MB:.0f} MiB",
        ]
        for kind, one in best.items()
    ]  # fmt: skip


def _store_large(store: StorageServer, file: Path, size: int) -> None:
    """A version of one file of ``size`` MiB, no two of which are the same."""
    block = random.Random(1).randbytes(_MB)
    with file.open("wb") as target:
        for number in range(size):
            target.write(number.to_bytes(8, "big") + block[8:])
    store.upload(file, "large/1/model.bin")
    file.unlink()


def _download(kind: str, store: StorageServer, folder: Path) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.storage_download"]
    command = [*module, kind, store.scheme, store.endpoint, CONTAINER, "large", str(folder)]
    environment = os.environ | store.reading
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _polls(section: Section, store: StorageServer, seconds: float) -> None:
    share = storage_polls.processor_share(store, seconds)
    text = f"looking at {storage_polls.MODELS} models on {store.name} every second takes less than 5 % of a core"
    section.targets.append(Target(text, f"{share:.1%}", share < MOST_SHARE))
