"""The REST server one would write with the usual libraries: falcon, json, NumPy, OpenVINO's Python API, on cheroot.

    python -m benchmarks.baselines.straightforward_rest_server --model_name NAME --model_path FOLDER --rest_port PORT
        [--nireq N] [--plugin_config JSON] [--rest_workers N]

It answers TensorFlow Serving's predict call for models of one input and one output, in the row and the column form,
and checks the shape, so that a wrong request gets 400. Infer requests are made up front and wait in a queue.
"""

import argparse
import json
import math
import queue
from pathlib import Path
from typing import Any

import falcon
import numpy as np
import openvino as ov
from cheroot import wsgi

FORMS = {"instances": "predictions", "inputs": "outputs"}
BACKLOG = 128


class Predict:
    """Predict on one model."""

    def __init__(self, name: str, compiled: ov.CompiledModel, nireq: int) -> None:
        self._name = name
        self._dtype = compiled.input().element_type.to_dtype()
        sizes = [(dim.get_min_length(), dim.get_max_length()) for dim in compiled.input().partial_shape]
        self._limits = [(least, most if most >= 0 else math.inf) for least, most in sizes]
        self._free: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(nireq):
            self._free.put(compiled.create_infer_request())

    def on_post(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """One inference; the infer request goes back to the queue whatever happens."""
        if name != self._name:
            raise falcon.HTTPNotFound(description=f"no model {name!r}")
        body = request.get_media()
        given = [form for form in FORMS if form in body]
        if len(given) != 1:
            raise falcon.HTTPBadRequest(description=f"expected one of {sorted(FORMS)}")
        array = self._decode(body[given[0]])
        infer_request = self._free.get()
        try:
            # Shared: OpenVINO reads the array where it is if it can, and does not copy its output.
            infer_request.infer([array], share_inputs=True, share_outputs=True)
            response.media = {FORMS[given[0]]: infer_request.get_output_tensor().data.tolist()}
        finally:
            self._free.put(infer_request)

    def _decode(self, values: Any) -> Any:
        try:
            array = np.array(values, self._dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise falcon.HTTPBadRequest(description=str(error)) from error
        fits = len(self._limits) == array.ndim and all(
            least <= size <= most for size, (least, most) in zip(array.shape, self._limits, strict=True)
        )
        if not fits:
            raise falcon.HTTPBadRequest(description=f"expected sizes {self._limits}")
        return array


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_path", required=True, type=Path)
    parser.add_argument("--rest_port", required=True, type=int)
    parser.add_argument("--nireq", type=int, default=2)
    parser.add_argument("--rest_workers", type=int, default=4)
    parser.add_argument("--plugin_config", type=json.loads, default={})
    options = parser.parse_args()

    model = next((options.model_path / "1").glob("*.xml"))
    compiled = ov.Core().compile_model(model, "CPU", options.plugin_config)
    app = falcon.App()
    app.add_route("/v1/models/{name}:predict", Predict(options.model_name, compiled, options.nireq))
    address = ("127.0.0.1", options.rest_port)
    server = wsgi.Server(address, app, numthreads=options.rest_workers, request_queue_size=BACKLOG)
    server.keep_alive_conn_limit = BACKLOG  # cheroot closes all but ten otherwise
    server.start()


if __name__ == "__main__":
    main()
