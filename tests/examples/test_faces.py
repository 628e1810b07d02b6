"""From the model's tensors to faces, and to a drawing of them."""

import numpy as np
import pytest
from PIL import Image

from examples.face_detection.faces import BOX_COLOUR, Face, draw_faces, read_faces

ANSWER = {
    "scores": np.array([[0.9, 0.6, 0.5]], np.float32),
    "boxes": np.array([[[0.25, 0.5, 0.5, 0.75], [0, 0, 1, 1], [0, 0, 1, 1]]], np.float32),
    "landmarks": np.tile(np.array([0.5, 0.25], np.float32), (1, 3, 5)),
}


def test_fractions_become_pixels_and_doubtful_candidates_go() -> None:
    first, second = read_faces(ANSWER, (400, 200))
    assert (first.left, first.top, first.right, first.bottom) == (100, 100, 200, 150)
    assert first.landmarks == ((200, 50),) * 5
    assert first.score == pytest.approx(0.9)
    assert (second.left, second.top, second.right, second.bottom) == (0, 0, 400, 200)


def test_face_reads_as_one_line() -> None:
    face = Face(0.9291, 181.53, 58.2, 269.88, 177.81, ())
    assert str(face) == "score 0.929, x 181.5 to 269.9, y 58.2 to 177.8 (88 x 120 pixels)"


def test_drawing_has_the_box_and_leaves_the_picture_alone() -> None:
    picture = Image.new("RGB", (400, 200))
    drawn = draw_faces(picture, read_faces(ANSWER, picture.size))
    green = Image.new("RGB", (1, 1), BOX_COLOUR).getpixel((0, 0))
    assert drawn.getpixel((150, 100)) == green
    assert drawn.getpixel((100, 140)) == green
    assert picture.getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (380, 180, 400, 200), (-5, -5, 500, 500)])
def test_face_at_an_edge_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    drawn = draw_faces(Image.new("RGB", (400, 200)), [Face(0.9, *box, ())])
    assert drawn.getbbox() is not None


def test_no_faces_no_marks() -> None:
    assert draw_faces(Image.new("RGB", (64, 64)), []).getbbox() is None
