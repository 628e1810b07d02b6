"""``python -m benchmarks.storage_download (ovms|sdk) SCHEME ENDPOINT BUCKET PREFIX FOLDER``: one download.

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

Download = Callable[[], object]


def main(kind: str, scheme: str, endpoint: str, bucket: str, prefix: str, folder: str) -> None:
    """Prepare as a server that has looked at the model once; then measure the download alone."""
    place = Path(folder)
    if kind == "ovms":
        download = _ovms(scheme, endpoint, bucket, prefix, place)
    else:
        place.mkdir()
        download = {"s3": _boto3, "gs": _google, "az": _azure}[scheme](endpoint, bucket, f"{prefix}/", place)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins here
    before, cpu, began = _memory("VmRSS"), sum(os.times()[:2]), time.perf_counter()
    download()
    seconds, used = time.perf_counter() - began, sum(os.times()[:2]) - cpu
    print(json.dumps({"seconds": seconds, "cpu": used, "memory": _memory("VmHWM") - before}))


def _ovms(scheme: str, endpoint: str, bucket: str, prefix: str, folder: Path) -> Download:
    from ovms.config import ModelConfig
    from ovms.storage import Storages

    storage = Storages(str(folder)).open(ModelConfig("m", f"{scheme}://{bucket}/{prefix}", endpoint=endpoint))
    storage.list_versions()
    return lambda: storage.fetch(1)


def _boto3(endpoint: str, bucket: str, prefix: str, folder: Path) -> Download:
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]

    def download() -> None:
        for number, item in enumerate(found):
            client.download_file(bucket, item["Key"], str(folder / str(number)))

    return download


def _google(endpoint: str, bucket: str, prefix: str, folder: Path) -> Download:
    from google.cloud import storage

    client = storage.Client("benchmark")  # the environment tells the endpoint
    found = list(client.list_blobs(bucket, prefix=prefix))

    def download() -> None:
        for number, blob in enumerate(found):
            blob.download_to_filename(str(folder / str(number)))

    return download


def _azure(endpoint: str, bucket: str, prefix: str, folder: Path) -> Download:
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
    client = service.get_container_client(bucket)
    found = list(client.list_blobs(prefix))

    def download() -> None:
        for number, blob in enumerate(found):
            with (folder / str(number)).open("wb") as file:
                client.download_blob(blob.name).readinto(file)

    return download


def _memory(field: str) -> int:
    """In bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    main(*sys.argv[1:])
