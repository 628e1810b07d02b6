"""``python -m benchmarks.storage_download (ovms|boto3) ENDPOINT BUCKET PREFIX FOLDER``: one download.

It is a process of its own, which prints what it took as JSON. The credentials come from the environment.
"""

import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main(kind: str, endpoint: str, bucket: str, prefix: str, folder: str) -> None:
    """Prepare as a server that has looked at the model once; then measure the download alone."""
    download = {"ovms": _ovms, "boto3": _boto3}[kind](endpoint, bucket, prefix, Path(folder))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins here
    before, cpu, began = _memory("VmRSS"), sum(os.times()[:2]), time.perf_counter()
    download()
    seconds, used = time.perf_counter() - began, sum(os.times()[:2]) - cpu
    print(json.dumps({"seconds": seconds, "cpu": used, "memory": _memory("VmHWM") - before}))


def _ovms(endpoint: str, bucket: str, prefix: str, folder: Path) -> Callable[[], object]:
    from ovms.config import ModelConfig
    from ovms.storage import Storages

    storage = Storages(str(folder)).open(ModelConfig("m", f"s3://{bucket}/{prefix}", endpoint=endpoint))
    storage.list_versions()
    return lambda: storage.fetch(1)


def _boto3(endpoint: str, bucket: str, prefix: str, folder: Path) -> Callable[[], object]:
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    folder.mkdir()

    def download() -> None:
        for number, item in enumerate(found):
            client.download_file(bucket, item["Key"], str(folder / str(number)))

    return download


def _memory(field: str) -> int:
    """In bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    main(*sys.argv[1:])
