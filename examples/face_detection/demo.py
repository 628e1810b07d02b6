"""Face detection from nothing to a picture with boxes, with a real server in between.

Usage:  python examples/face_detection/demo.py [--port 9000] [--once]

Fetches a network and a photograph, builds the model, starts ``python -m ovms`` with it, sends the
photograph through `ovms_client`, prints the faces and saves ``face_detection_result.png``. The
server then stays up for requests of your own until Ctrl-C.

The photograph is ``skimage/data/astronaut.png`` from the wheel of scikit-image 0.26.0: Eileen
Collins, by NASA, in the public domain.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np
    from ovms_client import Client, ServerError
    from PIL import Image

    from examples.face_detection.build_face_model import MODEL_NAME, write_model
    from examples.face_detection.faces import draw_faces, read_faces
    from examples.face_detection.server_process import ServerProcess, ServerProcessError
    from examples.fetching import LINUX_CPYTHON_312, FetchError, Wheel, default_cache, fetch
except ModuleNotFoundError as missing:
    sys.exit(f"error: no module {missing.name!r} here; examples/face_detection/README.md says what to install")

PICTURE_FILE = "skimage/data/astronaut.png"
PICTURE = Wheel(
    "scikit-image==0.26.0",
    {PICTURE_FILE: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"},
    LINUX_CPYTHON_312,
)
RESULT = Path("face_detection_result.png")


def main() -> int:
    """Run the demo; returns the exit code."""
    options = parse_options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: the server goes too
    # gRPC would send even these calls through an HTTP proxy; it reads the lower-case name.
    os.environ["no_grpc_proxy"] = "localhost"  # noqa: SIM112
    try:
        return run(options.port, options.once, default_cache())
    except (FetchError, ServerProcessError, ServerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted before the demo was done.", file=sys.stderr)
        return 130


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Detect faces in a photograph with a model server of its own.")
    parser.add_argument("--port", type=int, default=9000, help="gRPC port of the server (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="stop after the first prediction")
    options = parser.parse_args()
    if not 0 < options.port < 65536:
        parser.error("--port must be between 1 and 65535")
    return options


def run(port: int, once: bool, cache: Path) -> int:
    say(f"Fetching the network and a photograph (kept in {cache})")
    picture_file = fetch(PICTURE, cache) / PICTURE_FILE
    model = write_model(cache / "repository", cache)

    say(f"Starting the server with {model}")
    server = ServerProcess(MODEL_NAME, model, port, cache / f"server-{port}.log")
    began = time.perf_counter()
    with server:
        server.wait_until_available()
        say(f"Serving on {server.address} after {time.perf_counter() - began:.1f} s; log: {server.log}")
        found = detect(server.address, picture_file)
        if not once:
            say(invitation(server.address, picture_file))
            keep_serving(server)
        say("Stopping the server")
        code = server.stop()
    if code:
        print(f"error: the server ended with exit code {code}; log: {server.log}", file=sys.stderr)
    return 1 if code or not found else 0


def detect(address: str, picture_file: Path) -> int:
    """Send the picture, show and save what comes back; returns the number of faces."""
    with Image.open(picture_file) as opened:
        picture = opened.convert("RGB")
    with Client(address) as client:
        began = time.perf_counter()
        answer = client.predict(MODEL_NAME, {"image": np.asarray(picture)[None]})
        milliseconds = (time.perf_counter() - began) * 1e3
    faces = read_faces(answer, picture.size)
    count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
    say(f"{count} in {picture_file.name} ({picture.width} x {picture.height} pixels), after {milliseconds:.0f} ms:")
    for face in faces:
        say(f"  {face}")
    draw_faces(picture, faces).save(RESULT)
    say(f"The picture with boxes: {RESULT.resolve()}")
    return len(faces)


def invitation(address: str, picture_file: Path) -> str:
    """What to type to ask the server from another terminal."""
    return f"""
Ask it yourself. In another terminal start {sys.executable} and type:

    import numpy as np
    from PIL import Image
    from ovms_client import Client
    image = np.asarray(Image.open({str(picture_file)!r}).convert("RGB"))[None]
    print(Client({address!r}).predict({MODEL_NAME!r}, {{"image": image}})["scores"][0, :3])

Press Ctrl-C here to stop."""


def keep_serving(server: ServerProcess) -> None:
    """Return on Ctrl-C; raise when the server ends before that."""
    try:
        server.wait()
    except KeyboardInterrupt:
        print()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
