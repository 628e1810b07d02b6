"""A pod run without a cluster: the server process that a rendered pod specification describes, with its volumes as
folders, and its probes as the kubelet asks them.

A path that is mounted in the pod is a folder below `root` here, so such paths are changed in arguments, in the
environment and in the configuration. Everything else is as it was rendered.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from charts import Object, of_kind, pod_of
from rest_calls import Answer, ask
from server_under_test import Server, starting


class RenderedPod:
    """What of a rendered chart, or of another pod specification, a process is started with."""

    def __init__(self, pod: Object, container: Object, root: Path, objects: list[Object] | None = None) -> None:
        """Makes the folders of the volumes; `objects` has the ConfigMaps that are mounted."""
        self.pod, self.container, self.root = pod, container, root
        self._mounts = sorted((mount["mountPath"] for mount in container["volumeMounts"]), key=len, reverse=True)
        for mount in self._mounts:
            self.path(mount).mkdir(parents=True)
        if objects:
            self.mount_config(objects)

    @classmethod
    def of_chart(cls, objects: list[Object], root: Path) -> "RenderedPod":
        return cls(*pod_of(objects), root, objects)

    def path(self, inside: str) -> Path:
        """Where a path of the pod is here."""
        return self.root / inside.removeprefix("/")

    def mount_config(self, objects: list[Object]) -> None:
        """Put ConfigMaps where they are mounted, as the kubelet does: by one link, which changes at once."""
        maps = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        for volume in self.pod["volumes"]:
            if data := maps.get(volume.get("configMap", {}).get("name")):
                self.mount(mounts[volume["name"]], {key: self._moved(text).encode() for key, text in data.items()})

    def mount(self, place: str, data: Mapping[str, bytes]) -> None:
        """Put the files of a ConfigMap or Secret where it is mounted; again: instead of those that are there."""
        folder = self.path(place)
        link = folder / "..data"
        old = Path(os.readlink(link)) if link.is_symlink() else None
        new = folder / f"..{time.monotonic_ns()}"
        new.mkdir()
        for name, content in data.items():
            (new / name).write_bytes(content)
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(Path("..data", name))
        fresh = folder / "..data_tmp"
        fresh.symlink_to(new.name)
        fresh.rename(link)
        if old:
            shutil.rmtree(folder / old)

    def _moved(self, text: str) -> str:
        return re.sub(
            rf"(?<![\w/:.-])({'|'.join(map(re.escape, self._mounts))})(?![\w-])",
            lambda found: f"{self.root}{found[1]}",
            text,
        )

    @property
    def arguments(self) -> list[str]:
        return [self._moved(argument) for argument in self.container["args"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @contextmanager
    def running(self, **secrets: str) -> Iterator[Server]:
        """The process; `secrets` are the variables that its Secret would give it."""
        environment = {one["name"]: self._moved(one["value"]) for one in self.container.get("env", [])}
        # What is looked at, and how often, is as in a pod.
        with starting(*self.arguments, **environment, **secrets, FILE_SYSTEM_POLL_WAIT_SECONDS="1") as server:
            yield server

    def probe(self, name: str) -> Answer | None:
        """The kubelet's question; None if there is no answer."""
        asked: Any = self.container[name]["httpGet"]
        port = self.ports[asked["port"]] if isinstance(asked["port"], str) else asked["port"]
        try:
            return ask(port, "GET", asked["path"])
        except OSError:
            return None

    def passes(self, name: str) -> bool:
        """As the kubelet counts it."""
        answer = self.probe(name)
        return answer is not None and 200 <= answer.status < 400
