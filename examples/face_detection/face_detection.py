"""Find the faces in all pictures of a folder, over gRPC, and save the pictures with boxes around them.

Understands the model of this folder, and detectors that answer with rows of [picture, class, score, box], as those
of the Open Model Zoo do.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ovms_client import Client

from examples.client_calls import asking, grpc_credentials
from examples.client_options import ExampleError, grpc_target, reason, run
from examples.face_detection.faces import Face, draw_faces, read_detections, read_faces
from examples.face_detection.folder import Batch, add_folder_options, read_batches
from examples.numpy_files import Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder_options(parser)
    help_text = "folder for the results (default: %(default)s)"
    parser.add_argument("--output_dir", type=Path, default=Path("results"), help=help_text)
    options = parser.parse_args()
    if options.output_dir.resolve() == options.input_images_dir.resolve():
        raise ExampleError(f"{options.output_dir}: the results would take the place of the pictures")
    target, total, count = grpc_target(options), 0, 0
    with Client(target, credentials=grpc_credentials(options)) as client:
        with asking(target, options.model_name):
            model = client.metadata(options.model_name)
        for batch in read_batches(options, model):
            with asking(target, options.model_name):
                answer = client.predict(options.model_name, batch.inputs)
            for place, path in enumerate(batch.files):
                faces = find_faces(answer, batch, place)
                print(f"{path.name}: {len(faces)} {'face' if len(faces) == 1 else 'faces'}")
                for face in faces:
                    print(f"  {face}")
                save(batch, place, faces, options.output_dir)
                total, count = total + len(faces), count + 1
    print(f"{total} faces in {count} pictures; the pictures with boxes are in {options.output_dir}")


def find_faces(answer: dict[str, Array], batch: Batch, place: int) -> list[Face]:
    """The faces of one picture of a batch, in whichever form the model tells them."""
    size = batch.pictures[place].size
    if {"boxes", "scores", "landmarks"} <= answer.keys():
        return read_faces(answer, size, place)
    for output in answer.values():
        if output.ndim == 4 and output.shape[:2] == (1, 1) and output.shape[3] == 7:
            return read_detections(output, size, place)
    told = ", ".join(f"{name} {list(output.shape)}" for name, output in answer.items())
    raise ExampleError(f"the model's outputs are no faces that this example can read: {told}")


def save(batch: Batch, place: int, faces: list[Face], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draw_faces(batch.pictures[place], faces).save(folder / batch.files[place].name)
    except OSError as error:
        raise ExampleError(f"{folder}: {reason(error)}") from error


if __name__ == "__main__":
    run(main)
