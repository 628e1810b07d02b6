"""Models with the signatures that TensorFlow Serving's documentation of REST uses, behind one server."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from server_under_test import PATIENCE, Server, free_port, starting

from tests.models.layout import save
from tests.models.synthetic import identity


def half_plus(value: float, root: Path, name: str, version: int) -> Path:
    """``y = x / 2 + value``, f32 ``[-1]``."""
    x = parameter("x", "f32", [-1])
    half = ops.multiply(x, ops.constant(np.float32(0.5)))
    return written({"y": ops.add(half, ops.constant(np.float32(value)))}, [x], root, name, version)


def sensors(root: Path) -> Path:
    """``tag`` string ``[-1]``, ``signal`` i32 ``[-1,5]``, ``sensor`` f32 ``[-1,2,2]``; the tags, the signals' sums and
    the sensors' doubles."""
    tag, signal = parameter("tag", "string", [-1]), parameter("signal", "i32", [-1, 5])
    sensor = parameter("sensor", "f32", [-1, 2, 2])
    outputs = {
        "tag": tag,
        "total": ops.reduce_sum(signal, ops.constant(np.array([1], np.int64)), keep_dims=False),
        "twice": ops.multiply(sensor, ops.constant(np.float32(2))),
    }
    return written(outputs, [tag, signal, sensor], root, "sensors", 1)


def pictures(root: Path) -> Path:
    """``image`` and ``caption``, strings ``[-1]``, which are the outputs too."""
    image, caption = parameter("image", "string", [-1]), parameter("caption", "string", [-1])
    return written({"image": image, "caption": caption}, [image, caption], root, "pictures", 1)


def thumbnail(root: Path) -> Path:
    """``image_bytes``, a string ``[-1]`` in and out: its name says that it is bytes."""
    image = parameter("image_bytes", "string", [-1])
    return written({"image_bytes": image}, [image], root, "thumbnail", 1)


def pairs(root: Path) -> Path:
    """``y = x``, f32 ``[-1,1,2]``."""
    return identity("f32", [-1, 1, 2], root, "pairs")


def parameter(name: str, dtype: str, shape: list[int]) -> ov.Node:
    node = ops.parameter(ov.PartialShape(shape), getattr(ov.Type, dtype), name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def written(outputs: dict[str, ov.Node], inputs: list[ov.Node], root: Path, name: str, version: int) -> Path:
    model = ov.Model([ops.result(node) for node in outputs.values()], inputs, name)
    for port, output in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({output})
    return save(model, root, name, version)


@dataclass
class Documented:
    """A server, and where its REST API is."""

    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: str | bytes | None = None, method: str | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer to a POST of `body`, or a GET."""
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextmanager
def serving_documented(root: Path, *options: str, others: Sequence[Path] = ()) -> Iterator[Documented]:
    """A server of all models above, with half_plus_two in two versions of which 1 is ``stable``, and of others."""
    paths = [half_plus(2, root, "half_plus_two", 1), half_plus(3, root, "half_plus_three", 123)]
    half_plus(2, root, "half_plus_two", 2)
    paths += [sensors(root), pictures(root), thumbnail(root), pairs(root), *others]
    models: list[dict[str, Any]] = [{"name": path.name, "base_path": str(path)} for path in paths]
    models[0] |= {"model_version_policy": {"all": {}}, "version_labels": {"stable": 1}}
    file = root / "models.json"
    file.write_text(json.dumps({"model_config_list": [{"config": model} for model in models]}))
    port = free_port()
    arguments = ("config", "--config_path", str(file), "--port", "0", "--rest_port", str(port))
    with starting(*arguments, *options) as server:
        server.wait_until_ready()
        yield Documented(server, port)
        assert server.stop() == 0, server.text
