"""A path with 100,000 keys below it is refused, and costs other models nothing and the machine not much."""

import re
import time
from pathlib import Path

import pytest
from many_keys import PAGE, ManyKeys
from remote_models import RemoteModels, keys, until_message
from repository import Traffic, serving_file, until_answer
from server_under_test import Server
from servers import BUCKET, S3Server

from ovms.storage.object_storage import MOST_OBJECTS

pytestmark = pytest.mark.timed

MB = 1 << 20


def peak(server: Server) -> int:
    """Bytes of memory at the most, since `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def forget_peak(server: Server) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def test_a_hundred_thousand_keys(seaweedfs: S3Server, prefix: str, tmp_path: Path) -> None:
    models = RemoteModels(seaweedfs, prefix, tmp_path)
    models.put("healthy", 1)
    healthy = models.entry("healthy", endpoint=seaweedfs.url)
    with (
        ManyKeys(100_000).running() as store,
        serving_file(models.write(healthy), *models.options, **keys()) as (server, client),
        Traffic(server, "healthy") as traffic,
    ):
        until_answer(client, "healthy", 1)
        forget_peak(server)
        before, began = peak(server), time.monotonic()
        many = {"config": {"name": "many", "base_path": f"s3://{BUCKET}/many", "endpoint": store.url}}
        models.write(healthy, many)
        said = f"s3://{BUCKET}/many: more than {MOST_OBJECTS} objects; give a longer path"
        until_message(client, "many", f"The versions of model many cannot be listed: RESOURCE_EXHAUSTED: {said}")
        models.put("healthy", 2)
        traffic.until(2)
        assert traffic.seen == [1, 2]
        server.wait_for_line(f"Failed reading model versions from path: s3://{BUCKET}/many with error {said}")
        looks = store.pages.count(0)
        while store.pages.count(0) < looks + 2:  # it is looked at again, after pauses that grow
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        took = time.monotonic() - began
        assert max(store.pages) == MOST_OBJECTS, "no page that is not needed"
        assert len(store.pages) <= (MOST_OBJECTS // PAGE + 1) * store.pages.count(0)
        assert store.pages.count(0) <= 3 + took / 1.0, "pauses of a second at least"
        assert peak(server) - before < 64 * MB
