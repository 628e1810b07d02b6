"""Seven photographs with what they show, as JPEGs and as NumPy files, and the names of ImageNet's classes.

The labels were given by looking at the pictures. ImageNet knows neither motorcycles nor dahlias; their labels are the
classes next to them, moped and daisy. Other photographs of these packages show nothing that ImageNet has a class for.

Sources, fetched and not redistributed:

* scikit-image 0.26.0: chelsea, coffee, camera (CC0), rocket (SpaceX, public domain), motorcycle_left
  (Middlebury Stereo Dataset 2014, D. Scharstein et al., CC0);
* scikit-learn 1.9.1: china (danielbuechele, CC BY 2.0), flower (vultilion, CC BY 2.0);
* timm 1.0.20 (Apache-2.0): the list of classes and their names, which are WordNet's.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from examples.fetching import LINUX_CPYTHON_312, Wheel, fetch

SKIMAGE, SKLEARN, TIMM = "skimage/data", "sklearn/datasets/images", "timm/data/_info"
PHOTOGRAPHS = (
    Wheel(
        "scikit-image==0.26.0",
        {
            f"{SKIMAGE}/chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            f"{SKIMAGE}/coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
            f"{SKIMAGE}/motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            f"{SKIMAGE}/rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
            f"{SKIMAGE}/camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        },
        LINUX_CPYTHON_312,
    ),
    Wheel(
        "scikit-learn==1.9.1",
        {
            f"{SKLEARN}/china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
            f"{SKLEARN}/flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        },
        LINUX_CPYTHON_312,
    ),
)
SYNSETS, LEMMAS = f"{TIMM}/imagenet_synsets.txt", f"{TIMM}/imagenet_synset_to_lemma.txt"
CLASSES = Wheel(
    "timm==1.0.20",
    {
        SYNSETS: "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
        LEMMAS: "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
    },
)
LABELS = {
    "chelsea": 281,  # tabby
    "coffee": 967,  # espresso
    "motorcycle_left": 665,  # moped
    "rocket": 657,  # missile
    "camera": 872,  # tripod
    "china": 698,  # palace
    "flower": 985,  # daisy
}
SIDE = 224


def write_pictures(folder: Path, cache: Path) -> None:
    """Write the pictures under `folder`, which is made.

    ``pictures/*.jpg``: the middle square of each photograph; ``input_images.txt``: a line for each, its path and its
    label; ``imgs.npy`` u8 [7,224,224,3], RGB, and ``lbs.npy`` i64 [7]: the same as arrays; ``class_names.txt``: a line
    for each of the 1000 classes.
    """
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    pixels, lines = [], []
    for wheel in PHOTOGRAPHS:
        source = fetch(wheel, cache)
        for path in wheel.files:
            name = Path(path).stem
            with Image.open(source / path) as picture:
                square = middle_square(picture.convert("RGB"))
            square.save(pictures / f"{name}.jpg", quality=95)
            with Image.open(pictures / f"{name}.jpg") as picture:
                pixels.append(np.asarray(picture.resize((SIDE, SIDE))))
            lines.append(f"pictures/{name}.jpg {LABELS[name]}\n")
    (folder / "input_images.txt").write_text("".join(lines))
    np.save(folder / "imgs.npy", np.stack(pixels))
    np.save(folder / "lbs.npy", np.array([int(line.split()[1]) for line in lines], np.int64))
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in class_names(cache)))


def middle_square(picture: Image.Image) -> Image.Image:
    side = min(picture.size)
    left, upper = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, upper, left + side, upper + side))


def class_names(cache: Path) -> list[str]:
    """The first name of each of ImageNet's 1000 classes, in their order."""
    source = fetch(CLASSES, cache)
    names = dict(line.split("\t") for line in (source / LEMMAS).read_text().splitlines())
    return [names[synset].split(",")[0] for synset in (source / SYNSETS).read_text().split()]
