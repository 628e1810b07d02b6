"""What cheroot costs by itself: a server that reads a request's body, looks at nothing, and has its answer ready.

    python -m benchmarks.baselines.rest_transport_only --rest_port PORT [--rest_workers N] [other options]

Its one answer is that to the first request: what was sent with 1 added.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from cheroot import wsgi

BACKLOG = 128


class Constant:
    """A WSGI application with one answer for every request."""

    def __init__(self) -> None:
        self._answer: bytes | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Return the answer; the request is looked at only once."""
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if self._answer is None:
            array = np.array(json.loads(body)["instances"], np.float32) + 1
            self._answer = json.dumps({"predictions": array.tolist()}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(self._answer)))]
        start_response("200 OK", headers)
        return [self._answer]


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest_port", required=True, type=int)
    parser.add_argument("--rest_workers", type=int, default=4)
    options, _ = parser.parse_known_args()
    address = ("127.0.0.1", options.rest_port)
    server = wsgi.Server(address, Constant(), numthreads=options.rest_workers, request_queue_size=BACKLOG)
    server.keep_alive_conn_limit = BACKLOG  # cheroot closes all but ten otherwise
    server.start()


if __name__ == "__main__":
    main()
