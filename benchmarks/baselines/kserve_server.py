"""KServe's Python model server with one OpenVINO model, run by the Python of an environment that has it.

    PYTHON benchmarks/baselines/kserve_server.py --model_name NAME --model_path MODEL.xml --port PORT --rest_port PORT
        [--plugin_config JSON] [other options]

No log of latencies; inference on the server's event loop, as its ``predict`` is called there, so that it has use for
one infer request only. It listens on all addresses: KServe has no option for that.
"""

import argparse
import json
import sys
from typing import Any

import openvino as ov

# KServe takes these from the command line only, when it is imported.
sys.argv += ["--grpc_max_receive_message_length", str((1 << 31) - 1)]
sys.argv += ["--grpc_max_send_message_length", str((1 << 31) - 1)]

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402


class OpenVINOModel(Model):
    """One f32 input, one f32 output."""

    def __init__(self, name: str, path: str, plugin_config: dict[str, str]) -> None:
        super().__init__(name)
        compiled = ov.Core().compile_model(path, "CPU", plugin_config)
        self._output = compiled.output(0).any_name
        self._request = compiled.create_infer_request()
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> InferResponse:
        """One inference."""
        self._request.infer([payload.inputs[0].as_numpy()], share_inputs=True)
        values = self._request.get_output_tensor().data
        output = InferOutput(self._output, list(values.shape), "FP32")
        output.set_data_from_numpy(values)
        return InferResponse(payload.id or "", self.name, [output])


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--rest_port", required=True, type=int)
    parser.add_argument("--plugin_config", type=json.loads, default={})
    options, _ = parser.parse_known_args()
    model = OpenVINOModel(options.model_name, options.model_path, options.plugin_config)
    server = ModelServer(
        http_port=options.rest_port, grpc_port=options.port, workers=1, enable_latency_logging=False, grace_period=1
    )
    server.start([model])


if __name__ == "__main__":
    main()
