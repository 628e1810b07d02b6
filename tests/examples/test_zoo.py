"""The real models give their known answers. The first run downloads about 75 MB."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples.fetching import DownloadError
from tests.models import reference, zoo


def need(build: Callable[..., zoo.RealModel], *arguments: object) -> zoo.RealModel:
    """The model, or a skipped test where there is no network and nobody promised one."""
    try:
        return build(*arguments)
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("build", [zoo.face, zoo.silero_vad, zoo.paddle_ocr_cls, zoo.magika, zoo.digits])
def test_known_answers(build: Callable[..., zoo.RealModel], tmp_path: Path) -> None:
    model = need(build, tmp_path)
    assert model.folder.parent == tmp_path
    model.check(reference.run(model.folder, model.inputs))


def test_check_tells_a_wrong_answer(tmp_path: Path) -> None:
    numbers = zoo.RealModel(tmp_path, {}, {"y": np.array([[1.0, 2.0]])}, 0.1)
    numbers.check({"y": np.array([[1.05, 2.0, 9.0], [9.0, 9.0, 9.0]])})
    with pytest.raises(AssertionError, match="y"):
        numbers.check({"y": np.array([[1.5, 2.0]])})
    strings = zoo.RealModel(tmp_path, {}, {"label": np.array([b"cat"], object)})
    strings.check({"label": np.array(["cat"])})
    strings.check({"label": np.array([b"cat"], object)})
    with pytest.raises(AssertionError, match="dog"):
        strings.check({"label": np.array(["dog"])})


def test_formats_of_one_network_agree(tmp_path: Path) -> None:
    heard = []
    for model_format, (_, *outputs) in zoo.PITCH_NAMES.items():
        model = need(zoo.basic_pitch, tmp_path, model_format)
        answer = reference.run(model.folder, model.inputs)
        heard.append([answer[name] for name in outputs])
        assert zoo.heard_notes(heard[-1][1]) == zoo.CHORD
    for other in heard[1:]:
        for ours, theirs in zip(heard[0], other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
