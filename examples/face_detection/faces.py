"""Faces as the model returns them, and how they look on the picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

SURE = 0.5  # a candidate with a higher score is a face
BOX_COLOUR, MARK_COLOUR, TEXT_COLOUR = "#00c853", "#ffd600", "#000000"


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the picture that was sent."""

    score: float
    left: float
    top: float
    right: float
    bottom: float
    landmarks: tuple[tuple[float, float], ...]
    """x, y of two eyes, the nose, two corners of the mouth."""

    def __str__(self) -> str:
        across, down = f"x {self.left:.1f} to {self.right:.1f}", f"y {self.top:.1f} to {self.bottom:.1f}"
        size = f"{self.right - self.left:.0f} x {self.bottom - self.top:.0f} pixels"
        return f"score {self.score:.3f}, {across}, {down} ({size})"


def read_faces(answer: Mapping[str, npt.NDArray[Any]], size: tuple[int, int], place: int = 0) -> list[Face]:
    """Faces in one picture of an answer, best first; `size` is (width, height) of that picture, `place` its place."""
    scores = answer["scores"][place]
    boxes = answer["boxes"][place] * np.tile(size, 2)
    landmarks = answer["landmarks"][place].reshape(-1, 5, 2) * np.array(size)
    faces = []
    for score, box, points in zip(scores, boxes, landmarks, strict=True):
        if score > SURE:
            left, top, right, bottom = box.tolist()
            faces.append(Face(float(score), left, top, right, bottom, tuple((x, y) for x, y in points.tolist())))
    return faces


def read_detections(rows: npt.NDArray[Any], size: tuple[int, int], place: int = 0) -> list[Face]:
    """Faces in one picture, from the form that SSD detectors answer in, as those of the Open Model Zoo do.

    `rows` is f32 [1,1,N,7]: number of the picture in the batch (-1 ends the list), class, score, and left, top,
    right, bottom as fractions.
    """
    width, height = size
    faces = []
    for number, _, score, left, top, right, bottom in rows.reshape(-1, 7).tolist():
        if number < 0:
            break
        if number == place and score > SURE:
            faces.append(Face(score, left * width, top * height, right * width, bottom * height, ()))
    return sorted(faces, key=lambda face: -face.score)


def draw_faces(picture: Image.Image, faces: list[Face]) -> Image.Image:
    """A copy of the picture with box, score and landmarks of every face."""
    picture = picture.copy()
    canvas = ImageDraw.Draw(picture)
    line = max(2, min(picture.size) // 200)
    font = ImageFont.load_default(size=max(12, min(picture.size) // 32))
    for face in faces:
        canvas.rectangle((face.left, face.top, face.right, face.bottom), outline=BOX_COLOUR, width=line)
        for x, y in face.landmarks:
            canvas.ellipse((x - line, y - line, x + line, y + line), fill=MARK_COLOUR)
        label = f" {face.score:.3f} "
        left, top, right, bottom = canvas.textbbox((face.left, face.top), label, font=font, anchor="lb")
        shift = max(0, line - top)  # a face at the upper edge has its label inside the box
        canvas.rectangle((left, top + shift - line, right, bottom + shift), fill=BOX_COLOUR)
        canvas.text((face.left, face.top + shift), label, fill=TEXT_COLOUR, font=font, anchor="lb")
    return picture
