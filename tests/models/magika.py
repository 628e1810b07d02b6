"""Magika, a detector of file types, as a model with string input and string output.

The published network reads 2048 numbers: the first and the last 1024 bytes of a file, 256 where the
file is shorter. Here OpenVINO's string operations do that inside the graph, and the best class
comes out by its name. Only core operations, no extension library. Unlike the package, whitespace at
either end of a content counts.
"""

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

PADDING = 256
WINDOW = 1024


def build(folder: Path) -> ov.Model:
    """From ``model.onnx`` and ``config.min.json`` in `folder`:

    ``content`` string [N] -> ``label`` string [N], ``score`` f32 [N], ``probabilities`` f32 [N,214].
    """
    labels = json.loads((folder / "config.min.json").read_text(encoding="utf-8"))["target_labels_space"]
    model = ov.Core().read_model(folder / "model.onnx")
    content = ops.parameter(ov.PartialShape([-1]), ov.Type.string, name="content")
    content.output(0).get_tensor().set_names({"content"})
    model.get_parameters()[0].output(0).replace(_features(content).output(0))

    probabilities = model.get_results()[0].input_value(0)
    best = ops.topk(probabilities, _i64(1), 1, "max", "value", "i64")
    score, number = (ops.squeeze(best.output(port), _i64(1)) for port in (0, 1))
    outputs = {"label": _label(number, labels), "score": score, "probabilities": probabilities}
    whole = ov.Model([ops.result(node) for node in outputs.values()], [content], "magika")
    for port, name in zip(whole.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    return whole


def _features(content: ov.Node) -> ov.Node:
    """string [N] -> i32 [N,2048]: positions of the wanted bytes, then the bytes there."""
    text = ops.string_tensor_unpack(content)
    begin, end = (ops.unsqueeze(ops.convert(text.output(port), "i64"), _i64(1)) for port in (0, 1))
    window = _i64(np.arange(WINDOW)[None])
    positions = ops.concat([ops.add(begin, window), ops.add(ops.subtract(end, _i64(WINDOW)), window)], 1)
    inside = ops.logical_and(ops.greater_equal(positions, begin), ops.less(positions, end))
    # One more byte, so that there is something to read when all contents are empty.
    characters = ops.concat([text.output(2), ops.constant(np.zeros(1, np.uint8))], 0)
    found = ops.gather(characters, ops.select(inside, positions, _i64(0)), _i64(0))
    return ops.select(inside, ops.convert(found, "i32"), ops.constant(np.int32(PADDING)))


def _label(number: ov.Node, labels: list[str]) -> ov.Node:
    """Class numbers [N] -> names, string [N].

    Packing strings asks for ascending offsets, so each name is copied from a table with rows of one
    width, and cut to its length.
    """
    names = [label.encode() for label in labels]
    width = max(map(len, names))
    table = np.array([list(name.ljust(width)) for name in names], np.uint8)
    characters = ops.reshape(ops.gather(ops.constant(table), number, _i64(0)), _i64([-1]), False)
    count = ops.squeeze(ops.shape_of(number, "i64"), _i64(0))
    begin = ops.multiply(ops.range(_i64(0), count, _i64(1), "i64"), _i64(width))
    end = ops.add(begin, ops.gather(_i64([len(name) for name in names]), number, _i64(0)))
    return ops.string_tensor_pack(ops.convert(begin, "i32"), ops.convert(end, "i32"), characters)


def _i64(value: object) -> ov.Node:
    return ops.constant(np.array(value, np.int64))
