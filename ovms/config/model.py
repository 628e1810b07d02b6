"""The options of one model become its ModelConfig."""

from collections.abc import Callable, Mapping
from typing import Any

from ovms.config.options import MODEL_OPTIONS
from ovms.config.preprocessing import preprocessing
from ovms.config.values import ModelConfig

# The words that the ancestor's users look for in the log.
BOTH_GIVEN = (
    "Both shape and batch_size parameters are set for model: {}. "
    "Assuming that model is reshapable - batch_size will be ignored"
)

FOR_STORES = ("endpoint", "region", "anonymous")


def build_model(
    name: str,
    base_path: str,
    given: Mapping[str, Any],
    warn: Callable[[str], None],
    cpu_extension: str | None = None,
) -> ModelConfig:
    """Put a model together from the values of its options, by option name; what is not given has its default.

    ``warn`` is told what is given but will have no effect.
    """
    value = {option.name: given.get(option.name, option.default) for option in MODEL_OPTIONS}
    if value["shape"] and value["batch_size"] is not None:
        warn(BOTH_GIVEN.format(name))
        value["batch_size"] = None
    if "://" not in base_path and (useless := [key for key in FOR_STORES if value[key]]):
        warn(f"Model {name}: {', '.join(useless)}: without effect on {base_path}, which is no object store's")
    return ModelConfig(
        name=name,
        base_path=base_path,
        version_policy=value["model_version_policy"],
        version_labels=value["version_labels"],
        batch_size=value["batch_size"],
        shapes=value["shape"],
        compiled_shapes=value["compiled_shapes"],
        preprocessing=preprocessing(
            value["layout"], value["precision"], value["color_format"], value["mean"], value["scale"]
        ),
        nireq=value["nireq"],
        max_queue=value["max_queue"],
        target_device=value["target_device"],
        plugin_config=value["plugin_config"],
        cpu_extension=cpu_extension,
        warmup=value["warmup"],
        unload_before_load=value["unload_before_load"],
        ready_file=value["ready_file"],
        reload_on_change=value["reload_on_change"],
        endpoint=value["endpoint"],
        region=value["region"],
        anonymous=value["anonymous"],
    )
