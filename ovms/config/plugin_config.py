"""OpenVINO's properties for a device, under today's names."""

import logging
import math
from typing import Final

from ovms.config.secret import masked
from ovms.errors import ConfigError

logger = logging.getLogger(__name__)

# Names and values of OpenVINO up to 2022 that configurations still use, and what they are called today.
RENAMED_KEYS: Final = {
    "CPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "CPU_THREADS_NUM": "INFERENCE_NUM_THREADS",
    "CPU_BIND_THREAD": "ENABLE_CPU_PINNING",
}
RENAMED_VALUES: Final = {
    ("NUM_STREAMS", "CPU_THROUGHPUT_AUTO"): "AUTO",
    ("NUM_STREAMS", "CPU_THROUGHPUT_NUMA"): "NUMA",
    ("ENABLE_CPU_PINNING", "NUMA"): "YES",
    ("ENABLE_CPU_PINNING", "HYBRID_AWARE"): "YES",
}


def parse_plugin_config(options: object) -> dict[str, str]:
    """Turn a JSON object of OpenVINO properties into OpenVINO's strings, under today's names.

    Values may be text, numbers or true/false. A renamed option is logged. Raises ConfigError for
    any other kind of value, and for two options that mean the same property.
    """
    if not isinstance(options, dict):
        raise ConfigError('expected a JSON object, such as {"NUM_STREAMS": "2"}')
    given_as: dict[str, str] = {}
    properties: dict[str, str] = {}
    for old_key, old_value in options.items():
        text = _property_text(old_key, old_value)
        key = old_key.removeprefix("KEY_")
        key = RENAMED_KEYS.get(key, key)
        value = RENAMED_VALUES.get((key, text), text)
        if key in properties:
            raise ConfigError(f"{given_as[key]} and {old_key} are the same property, {key}; keep one of them")
        if (key, value) != (old_key, text):
            new, old = masked(key, value), masked(key, text)
            logger.info("plugin_config: using %s=%s for %s=%s, its former name", key, new, old_key, old)
        given_as[key] = old_key
        properties[key] = value
    return properties


def _property_text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    raise ConfigError(f"{key}: expected text, a number or true/false, not {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else str(value)
