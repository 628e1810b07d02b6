"""Loads versions into the data plane."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ovms._native import Core, Model
from ovms.config import ModelConfig
from ovms.config.values import AUTO
from ovms.core.loader import LoaderFactory
from ovms.core.servable import ServableId
from ovms.errors import ServingError
from ovms.runtime.cpus import Cpus, read_cpus
from ovms.runtime.formats import model_file
from ovms.runtime.libraries import require_whole_library
from ovms.runtime.mapping import read_mapping
from ovms.runtime.warmup import warm_up

Fetch = Callable[[int], Path]
"""Brings a version's files to this machine and says where they are."""

Release = Callable[[Path], None]
"""Is told that files which were fetched are not needed any more."""

_IF_SMALL: Final = MappingProxyType({"INFERENCE_NUM_THREADS": "1", "ENABLE_CPU_PINNING": "NO"})
_THREADING: Final = frozenset({*_IF_SMALL, "NUM_STREAMS", "PERFORMANCE_HINT"})

logger = logging.getLogger(__name__)


class Runtime:
    """What all loads share: OpenVINO's cores, and the CPUs there are."""

    def __init__(
        self,
        cache_dir: str | None = None,
        cpu_extension: str | None = None,
        cpus: Cpus | None = None,
        around_load: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``cpu_extension`` is for models that name none themselves; ``around_load`` is entered for each load."""
        self.cpus = cpus or read_cpus()
        self.around_load = around_load
        self._cache_dir = cache_dir or ""
        self._extension = cpu_extension or ""
        self._cores: dict[str, Core] = {}
        self._guard = threading.Lock()
        self._told_cache = False

    def core(self, extension: str | None = None) -> Core:
        """The core with this extension library, or the server's; ServingError if OpenVINO cannot load it.

        A library's operations are known to the whole core, so every library has a core of its own.
        """
        path = extension or self._extension
        with self._guard:
            if path not in self._cores:
                try:
                    if path:
                        require_whole_library(Path(path))
                    self._cores[path] = Core(cache_dir=self._cache_dir, extension=path)
                except ServingError as error:
                    what = f"cpu_extension: {path}" if path else f"cache_dir: {self._cache_dir}"
                    raise ServingError(error.code, f"{what}: cannot be used: {error.message}") from None
                self._look_at_cache()
            return self._cores[path]

    def _look_at_cache(self) -> None:
        """A cache that is only read is of use, if somebody filled it. OpenVINO says nothing when it cannot write."""
        if not self._cache_dir or self._told_cache:
            return
        if not os.access(self._cache_dir, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            logger.warning("cache_dir: %s: cannot be written: what is compiled now is not kept there", self._cache_dir)
            self._told_cache = True

    def loader_factory(
        self, config: ModelConfig, fetch: Fetch, release: Release = lambda path: None
    ) -> LoaderFactory[Model]:
        """What makes the loaders of a model's versions."""
        return lambda servable: ModelLoader(self, servable, config, fetch, release)


class ModelLoader:
    """A ``core.loader.Loader`` of OpenVINO models: finds the file, compiles it, makes its infer requests."""

    def __init__(
        self,
        runtime: Runtime,
        servable: ServableId,
        config: ModelConfig,
        fetch: Fetch,
        release: Release = lambda path: None,
    ) -> None:
        self._runtime = runtime
        self._id = servable
        self._config = config
        self._fetch = fetch
        self._release = release
        self._files: Path | None = None
        self._model: Model | None = None

    def load(self) -> Model:
        """Read, compile and warm up the version; ServingError with OpenVINO's own words if that fails."""
        logger.info("Creating inference engine object for version: %d", self._id.version)
        files = self._fetch(self._id.version)  # which may take long, and computes nothing
        try:
            with self._runtime.around_load():
                model = self._load(files)
        except BaseException:
            self._release(files)
            raise
        self._files = files
        return model

    def _load(self, version: Path) -> Model:
        config = self._config
        path = model_file(version)
        names = read_mapping(version)
        model = self._runtime.core(config.cpu_extension).load(
            self._id.name,
            self._id.version,
            str(path),
            device=config.target_device,
            config=self._properties(),
            config_if_small=self._properties_if_small(),
            nireq=config.nireq,
            input_names=names.inputs,
            output_names=names.outputs,
            shapes=config.shapes,
            batch=-1 if config.batch_size == "auto" else config.batch_size or 0,
            compiled_shapes=config.compiled_shapes,
            preprocessing=config.preprocessing,
            max_queue=config.max_queue,
        )
        keys = {
            "inputs": {spec.name: spec.tensor_name for spec in model.inputs},
            "outputs": {spec.name: spec.tensor_name for spec in model.outputs},
        }
        logger.info("Matched keys for model: %s", keys)
        logger.info(
            "[Model: %s, version: %d] --- on %s: %s, %d infer requests%s",
            self._id.name,
            self._id.version,
            config.target_device,
            f"{model.streams} streams" if model.streams else "streams unknown",
            model.nireq,
            ", one thread as the model is small" if model.small else "",
        )
        self._log_setup(model, path)
        if config.warmup:
            try:
                runs = warm_up(model, config.warmup, version)
            except BaseException:
                model.unload()
                raise
            logger.info(
                "[Model: %s, version: %d] --- warmed up by %d inferences", self._id.name, self._id.version, runs
            )
        self._model = model
        return model

    def _log_setup(self, model: Model, path: Path) -> None:
        """What the ancestor's engine told of itself at DEBUG."""
        config, about = self._config, f"[Model: {self._id.name}, version: {self._id.version}] ---"
        first = model.inputs[0].shape if model.inputs else None
        batch = AUTO if not first or first[0] < 0 else first[0]
        logger.debug("%s effective batch size - %s", about, batch)
        if not config.shapes:
            logger.debug("%s Setting shape to default", about)
        elif set(config.shapes.values()) == {AUTO}:
            logger.debug("%s Setting shape to automatic", about)
        else:
            logger.debug("%s Setting shape to fixed value: %s", about, dict(config.shapes))
        logger.debug("%s file %s", about, path)

    def unload(self) -> None:
        """Free the compiled model."""
        if self._model is not None:
            self._model.unload()
            self._model = None
        if self._files is not None:
            self._release(self._files)
            self._files = None

    def _properties(self) -> dict[str, str]:
        """The configured ones, and no more threads than the cgroup's quota lets run: OpenVINO does not know it."""
        properties = dict(self._config.plugin_config)
        cpus = self._runtime.cpus
        # "AUTO:CPU" and the like pass it on; devices beside the CPU may not take it.
        only_cpu = self._config.target_device.rpartition(":")[2] == "CPU" and "DEVICE_PROPERTIES" not in properties
        if cpus.usable < cpus.cpuset and only_cpu:
            properties.setdefault("INFERENCE_NUM_THREADS", str(cpus.usable))
        return properties

    def _properties_if_small(self) -> dict[str, str]:
        """What takes their place for a small model, unless the configuration has a say in it.

        Such a model runs on the thread that has its request. A second thread takes longer to wake than it saves, and
        pinning would move the first to the stream's core and back for each request.
        """
        own = self._config.plugin_config
        return {} if self._config.target_device != "CPU" or _THREADING & own.keys() else dict(_IF_SMALL)
