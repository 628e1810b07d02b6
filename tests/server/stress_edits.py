"""A configuration file that is edited in every way, good and bad, while the models of it are asked."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from ovms_client import Client, NotFound
from server_under_test import PATIENCE, Server
from stress_clients import Answers, Question
from stress_models import weighty

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
REFUSED = "The changed configuration is not used, models stay as they were"
CONFIGURED = "Models configured: "


class Edits:
    """Edits ``models.json`` around models that stay: `swapped`, which others change, `steady`, `changed`, `chosen`."""

    def __init__(self, root: Path, swapped: str, options: dict[str, Any]) -> None:
        self.file = root / "models.json"
        self.done: Counter[str] = Counter()
        self._root, self._numbers = root, count(1)
        for name, values in {"steady": (5,), "here": (6,), "there": (7,), "chosen": (1, 2), "guest": (9,)}.items():
            for version, value in enumerate(values, start=1):
                weighty(value, root / "models", name, version)
        self._changed, self._guest = Answers(6), Answers(9)
        self.questions = [
            Question("steady", Answers(5)),
            Question("changed", self._changed),
            Question("chosen", Answers(2)),
            Question("guest", self._guest, may_be_gone=True),
        ]
        self._models: dict[str, dict[str, Any]] = {
            swapped: {
                "base_path": f"models/{swapped}",
                "model_version_policy": {"latest": {"num_versions": 1}},
                **options,
            },
            "steady": {"base_path": "models/steady", "version_labels": {"a": 1}},
            "changed": {"base_path": "models/here", "nireq": 1},
            "chosen": {"base_path": "models/chosen"},
        }
        self._put(self._text())

    def run(self, server: Server, client: Client, edits: int) -> None:
        """So many edits, good and bad ones in turn."""
        self._server, self._client = server, client
        good: list[Callable[[], None]] = [
            self.guest_comes, self.reloaded, self.moved, self.all_versions, self.guest_goes, self.labels,
            self.nothing, self.latest_version,
        ]  # fmt: skip
        bad = [*BAD, "gone", "a folder", "fails to load", "nowhere"]
        for number in range(edits // 2):
            good[number % len(good)]()
            self.done["good"] += 1
            self._bad(bad[number % len(bad)])
            self.done["bad"] += 1

    def settle(self) -> None:
        """Back to what was configured first."""
        self._models["changed"]["nireq"] = 1
        if "guest" in self._models:
            self.guest_goes()
        self.latest_version()

    def guest_comes(self) -> None:
        self._models["guest"] = {"base_path": "models/guest"}
        self._write()
        self._until(lambda: self._states("guest") == {1: "AVAILABLE"})

    def guest_goes(self) -> None:
        self._models.pop("guest", None)
        self._write()
        self._until(lambda: self._states("guest") == {})

    def reloaded(self) -> None:
        """Other options of loading."""
        before = self._count("[Model: changed, version: 1] --- on CPU")
        self._models["changed"]["nireq"] = 3 - self._models["changed"]["nireq"]
        self._write()
        self._until(lambda: self._count("[Model: changed, version: 1] --- on CPU") > before)

    def moved(self) -> None:
        """The same version number in another folder."""
        there = self._models["changed"]["base_path"] == "models/here"
        self._changed.allow(7 if there else 6)
        self._models["changed"]["base_path"] = "models/there" if there else "models/here"
        self._write()
        value = 7 if there else 6
        self._until(lambda: self._client.predict("changed", {"x": [[0.0] * 10]})["y"][0, 0] == value)
        self._changed.only(value)

    def all_versions(self) -> None:
        self._models["chosen"]["model_version_policy"] = {"all": {}}
        self._write()
        self._until(lambda: self._states("chosen") == {1: "AVAILABLE", 2: "AVAILABLE"})

    def latest_version(self) -> None:
        self._models["chosen"].pop("model_version_policy", None)
        self._write()
        self._until(lambda: self._states("chosen") in ({2: "AVAILABLE"}, {1: "END", 2: "AVAILABLE"}))

    def labels(self) -> None:
        before = self._count(CONFIGURED)
        self._models["steady"]["version_labels"] = {f"label{next(self._numbers)}": 1}
        self._write()
        self._until(lambda: self._count(CONFIGURED) > before)

    def nothing(self) -> None:
        """The same again, spelled in another way."""
        self._put(self._text(indent=next(self._numbers) % 5 + 1))

    def _bad(self, kind: str) -> None:
        before = self._count(REFUSED)
        if kind == "fails to load":
            return self._fails_to_load()
        if kind == "nowhere":
            return self._nowhere()
        if kind == "gone":
            self.file.unlink()
        elif kind == "a folder":
            self.file.unlink()
            self.file.mkdir()
        else:
            self._put(BAD[kind](self._text()))
        self._until(lambda: self._count(REFUSED) > before)
        if self.file.is_dir():
            self.file.rmdir()
        return self._write()

    def _fails_to_load(self) -> None:
        """What the file says is well-formed, and no model can be loaded that way."""
        self._models["changed"]["shape"] = "(1,3,7)"
        self._write()
        self._until(lambda: "Error occurred while loading version" in self._client.status("changed")[0].error_message)
        assert self._states("changed") == {1: "AVAILABLE"}
        del self._models["changed"]["shape"]
        self._write()
        self._until(lambda: self._client.status("changed")[0].error_message == "")

    def _nowhere(self) -> None:
        before = self._count(CONFIGURED)
        self._models["lost"] = {"base_path": "models/lost"}
        self._write()
        self._until(lambda: self._count(CONFIGURED) > before)
        del self._models["lost"]
        self._write()

    def _text(self, indent: int | None = None) -> str:
        entries = [
            {"config": {"name": name, "plugin_config": EXACT, **options}} for name, options in self._models.items()
        ]
        return json.dumps({"model_config_list": entries}, indent=indent)

    def _write(self) -> None:
        self._put(self._text())

    def _put(self, content: str | bytes) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(fresh, self.file)

    def _count(self, text: str) -> int:
        return sum(text in line for line in self._server.lines)

    def _states(self, model: str) -> dict[int, str]:
        try:
            return {one.version: one.state for one in self._client.status(model)}
        except NotFound:
            return {}

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.done, self._server.text[-3000:])
            time.sleep(0.01)


def _changed(**options: object) -> Callable[[str], str]:
    """The file with these options in the entry of ``steady``."""

    def edit(text: str) -> str:
        content = json.loads(text)
        content["model_config_list"][1]["config"].update(options)
        return json.dumps(content)

    return edit


BAD: dict[str, Callable[[str], str | bytes]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not JSON": lambda text: text.replace(":", "=", 1),
    "not UTF-8": lambda text: b"\xff\xfe" + text.encode(),
    "a list": lambda text: "[]",
    "no list of models": lambda text: '{"models": []}',
    "the list is none": lambda text: '{"model_config_list": {}}',
    "an entry is none": lambda text: text.replace('{"config":', '"x", {"config":', 1),
    "no name": lambda text: text.replace('"name"', '"nome"', 1),
    "no path": lambda text: text.replace('"base_path"', '"path"', 1),
    "a name twice": lambda text: text.replace('"chosen"', '"steady"', 1),
    "a key twice": lambda text: text.replace('"nireq": ', '"nireq": 1, "nireq": ', 1),
    "NaN": lambda text: text.replace('"nireq": ', '"nireq": NaN, "x": ', 1),
    "a wrong number": _changed(nireq="x"),
    "a negative number": _changed(nireq=-1),
    "a wrong type": _changed(nireq=[1]),
    "a wrong shape": _changed(shape="(1,x)"),
    "a wrong policy": _changed(model_version_policy={"newest": {}}),
    "none of the versions": _changed(model_version_policy={"latest": {"num_versions": 0}}),
    "a wrong batch size": _changed(batch_size=0),
    "a wrong label": _changed(version_labels={"a": "one"}),
    "a wrong plugin_config": _changed(plugin_config=5),
    "a wrong switch": _changed(ready_file="true"),
    "a wrong layout": _changed(layout="XYZ:ABC:DEF"),
    "a bucket": _changed(base_path="ftp://bucket/steady"),
    "a scale of 0": _changed(scale=0),
}
"""Kind -> the file made bad in that way."""
