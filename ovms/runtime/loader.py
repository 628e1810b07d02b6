"""Loads one version into the data plane."""

import logging
from collections.abc import Callable
from pathlib import Path

from ovms._native import Core, Model
from ovms.config import ModelConfig
from ovms.core.servable import ServableId
from ovms.runtime.formats import model_file
from ovms.runtime.mapping import read_mapping

logger = logging.getLogger(__name__)


class ModelLoader:
    """A ``core.loader.Loader`` of OpenVINO models: finds the file, compiles it, makes its infer requests."""

    def __init__(self, core: Core, servable: ServableId, config: ModelConfig, fetch: Callable[[int], Path]) -> None:
        """``fetch(version)`` brings the version's files to this machine and says where they are."""
        self._core = core
        self._id = servable
        self._config = config
        self._fetch = fetch
        self._model: Model | None = None

    def load(self) -> Model:
        """Read and compile the version; ServingError with OpenVINO's own words if that fails."""
        logger.info("Creating inference engine object for version: %d", self._id.version)
        version = self._fetch(self._id.version)
        path = model_file(version)
        names = read_mapping(version)
        self._model = self._core.load(
            self._id.name,
            self._id.version,
            str(path),
            device=self._config.target_device,
            config=dict(self._config.plugin_config),
            nireq=self._config.nireq,
            input_names=names.inputs,
            output_names=names.outputs,
        )
        keys = {
            "inputs": {spec.name: spec.tensor_name for spec in self._model.inputs},
            "outputs": {spec.name: spec.tensor_name for spec in self._model.outputs},
        }
        logger.info("Matched keys for model: %s", keys)
        logger.debug(
            "[Model: %s, version: %d] --- %s on %s, %d infer requests",
            self._id.name,
            self._id.version,
            path,
            self._config.target_device,
            self._model.nireq,
        )
        return self._model

    def unload(self) -> None:
        """Free the compiled model."""
        if self._model is not None:
            self._model.unload()
            self._model = None
