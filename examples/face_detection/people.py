"""Four pictures for face detection: one face, three of them, one seen from the side, and none.

Source: the wheel of scikit-image 0.26.0; ``astronaut.png`` is Eileen Collins by NASA (public domain), ``camera.png``
and ``coffee.png`` are CC0. The files are fetched, not redistributed.
"""

from pathlib import Path

from PIL import Image, ImageOps

from examples.fetching import LINUX_CPYTHON_312, Wheel, fetch

ASTRONAUT, CAMERA, COFFEE = (f"skimage/data/{name}.png" for name in ("astronaut", "camera", "coffee"))
PHOTOGRAPHS = Wheel(
    "scikit-image==0.26.0",
    {
        ASTRONAUT: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        CAMERA: "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        COFFEE: "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    },
    LINUX_CPYTHON_312,
)
FACES = {"astronaut.jpg": 1, "camera.jpg": 1, "coffee.jpg": 0, "three.jpg": 3}
"""How many faces are in each picture."""


def write_people(folder: Path, cache: Path) -> None:
    """Write the pictures of `FACES` into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    source = fetch(PHOTOGRAPHS, cache)
    astronaut, camera, coffee = (_read(source / path) for path in PHOTOGRAPHS.files)
    three = Image.new("RGB", (900, 600))
    small = astronaut.resize((300, 300))
    three.paste(astronaut.resize((600, 600)), (0, 0))
    three.paste(small, (600, 0))
    three.paste(ImageOps.mirror(small), (600, 300))
    for name, picture in zip(FACES, (astronaut, camera, coffee, three), strict=True):
        picture.save(folder / name, quality=95)


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")
