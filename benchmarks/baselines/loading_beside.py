"""A server that loads another model again and again with a plain ``compile_model``, as a program without ovms would.

    python -m benchmarks.baselines.loading_beside --model_name NAME --model_path FOLDER --port PORT --other FOLDER
        [--nireq N] [--plugin_config JSON] [--grpc_workers N]

It serves as the straightforward server does. While the file ``<other>/load`` is there, a thread of it reads and
compiles the model in ``<other>/1`` and makes its infer request, lets it go, and begins again; the file
``<other>/loads`` says how often it has.
"""

import argparse
import threading
import time
from pathlib import Path

import openvino as ov

from benchmarks.baselines import straightforward_server

PAUSE = 0.1
"""Seconds between two loads, as a server has that looks for changes every so often."""


def load_again_and_again(other: Path) -> None:
    """Never returns."""
    core = ov.Core()
    path = next((other / "1").glob("*.xml"))
    loads = 0
    while True:
        if (other / "load").exists():
            compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": "1"})
            request = compiled.create_infer_request()
            del request, compiled
            loads += 1
            (other / "loads").write_text(str(loads))
        time.sleep(PAUSE)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--other", required=True, type=Path)
    arguments, rest = parser.parse_known_args()
    threading.Thread(target=load_again_and_again, args=(arguments.other,), daemon=True).start()
    straightforward_server.main(rest)


if __name__ == "__main__":
    main()
