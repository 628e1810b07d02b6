"""A reader of handwritten digits, trained here in a fraction of a second with NumPy alone.

One hidden layer of random weights and one output layer found by least squares: no iterations, so
the result does not depend on a training history. Right on 95 % of digits it has not seen.

Source of the digits: ``sklearn/datasets/data/digits.csv.gz`` in the wheel of scikit-learn 1.9.1
(BSD-3-Clause). The file is fetched, not redistributed.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset15 as ops

from examples.fetching import LINUX_CPYTHON_312, Wheel, fetch
from examples.repository import write_version

DIGITS_CSV = "sklearn/datasets/data/digits.csv.gz"
DIGITS = Wheel(
    "scikit-learn==1.9.1",
    {DIGITS_CSV: "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"},
    LINUX_CPYTHON_312,
)
MODEL_NAME = "digits"

Floats = npt.NDArray[np.float64]

HIDDEN = 512
TRAINED_ON = 1437  # of 1797 samples; the rest, by other writers, is for testing
INK = 16.0  # pixels are 0 to 16
SHARPNESS = 8.0  # turns fitted values, about 0 to 1, into confident probabilities
REGULARISATION = 1.0


def write_model(repository: Path, cache: Path) -> Path:
    """Fetch the digits, train, write ``digits/1/digits.xml`` and ``.bin``; returns ``<repository>/digits``."""
    return write_version(build(fetch(DIGITS, cache) / DIGITS_CSV), repository, MODEL_NAME)


def write_unseen(folder: Path, cache: Path) -> None:
    """The samples that were kept from training: ``digits.npy`` f32 [360,64], ``digits_labels.npy`` i64 [360].

    The first five of them are also the body of a REST request, ``digits.json``.
    """
    pixels, digits = read_samples(fetch(DIGITS, cache) / DIGITS_CSV)
    np.save(folder / "digits.npy", pixels[TRAINED_ON:])
    np.save(folder / "digits_labels.npy", digits[TRAINED_ON:])
    request = {"instances": pixels[TRAINED_ON : TRAINED_ON + 5].astype(int).tolist()}
    (folder / "digits.json").write_text(json.dumps(request) + "\n")


def read_samples(csv: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images f32 [1797,64] and their digits i64 [1797] from the gzipped table."""
    with gzip.open(csv) as file:
        table = np.loadtxt(file, delimiter=",")
    return table[:, :64].astype(np.float32), table[:, 64].astype(np.int64)


def build(csv: Path) -> ov.Model:
    """``pixels`` f32 [N,64], 8x8 from 0 to 16 -> ``probabilities`` f32 [N,10]."""
    random = np.random.default_rng(7)
    weights = random.standard_normal((64, HIDDEN)) / 4
    bias = random.standard_normal(HIDDEN) / 2
    pixels, digits = read_samples(csv)
    hidden = np.maximum(pixels[:TRAINED_ON] / INK @ weights + bias, 0)
    readout, offset = _fit(hidden, np.eye(10)[digits[:TRAINED_ON]])

    x = ops.parameter(ov.PartialShape([-1, 64]), ov.Type.f32, name="pixels")
    layer = ops.relu(ops.add(ops.matmul(x, _f32(weights / INK), False, False), _f32(bias)))
    logits = ops.add(ops.matmul(layer, _f32(readout * SHARPNESS), False, False), _f32(offset * SHARPNESS))
    model = ov.Model([ops.result(ops.softmax(logits, 1))], [x], "digits")
    model.inputs[0].get_tensor().set_names({"pixels"})
    model.outputs[0].get_tensor().set_names({"probabilities"})
    return model


def _fit(inputs: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Ridge regression with an offset: weights and offset that map `inputs` to `targets` best."""
    extended = np.hstack([inputs, np.ones((len(inputs), 1))])
    square = extended.T @ extended + REGULARISATION * np.eye(extended.shape[1])
    solution = np.asarray(np.linalg.solve(square, extended.T @ targets), np.float64)
    return solution[:-1], solution[-1]


def _f32(value: Floats) -> ov.Node:
    return ops.constant(value.astype(np.float32))
