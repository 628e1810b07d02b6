"""MLServer with a runtime for one OpenVINO model, run by the Python of an environment that has it.

    PYTHON benchmarks/baselines/mlserver_server.py --model_name NAME --model_path MODEL.xml --port PORT --rest_port PORT
        [--plugin_config JSON] [other options]

As fast as its settings make it for a small model: no debug log, no metrics, and inference in the server's own process,
on its event loop, so that it has use for one infer request only.
"""

import argparse
import asyncio
import json

import openvino as ov
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse

LARGEST_MESSAGE = (1 << 31) - 1


class OpenVINOModel(MLModel):
    """One input, one output."""

    async def load(self) -> bool:
        """Compile the model."""
        extra = self.settings.parameters.extra
        compiled = ov.Core().compile_model(self.settings.parameters.uri, "CPU", extra["plugin_config"])
        self._output = compiled.output(0).any_name
        self._request = compiled.create_infer_request()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One inference."""
        array = NumpyCodec.decode_input(payload.inputs[0])
        self._request.infer([array], share_inputs=True)
        values = self._request.get_output_tensor().data
        output = NumpyCodec.encode_output(self._output, values)
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--rest_port", required=True, type=int)
    parser.add_argument("--plugin_config", type=json.loads, default={})
    options, _ = parser.parse_known_args()
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=options.rest_port,
        grpc_port=options.port,
        grpc_max_message_length=LARGEST_MESSAGE,
        metrics_endpoint=None,
        parallel_workers=0,
        load_models_at_startup=False,
    )
    parameters = ModelParameters(uri=options.model_path, extra={"plugin_config": options.plugin_config})
    model = ModelSettings(name=options.model_name, implementation=OpenVINOModel, parameters=parameters)

    async def serve() -> None:
        await MLServer(settings).start([model])

    asyncio.run(serve())


if __name__ == "__main__":
    main()
