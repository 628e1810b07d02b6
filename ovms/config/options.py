"""What an option is, and the options of a model.

One table serves the command line, the environment and the configuration file, so that they cannot differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ovms.config.locations import parse_endpoint
from ovms.config.plugin_config import parse_plugin_config
from ovms.config.preprocessing import parse_color_format, parse_layout, parse_mean, parse_precision, parse_scale
from ovms.config.scalars import (
    LARGEST_VERSION,
    as_json,
    explain,
    name,
    path,
    switch_json,
    switch_text,
    text,
    whole_number,
)
from ovms.config.shapes import parse_batch_size, parse_shape
from ovms.config.strict_json import parse_option
from ovms.core.version_policy import Latest, parse_policy
from ovms.errors import ConfigError

Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class Option:
    """One thing that can be set: as ``--name``, as the variable ``OVMS_NAME`` and, for a model's, as a key."""

    name: str

    from_text: Reader
    """Reads the text of the command line or the environment; ConfigError for a wrong one."""

    help: str

    metavar: str = "N"

    default: Any = None
    """Its value when it is not given anywhere."""

    otherwise: str | None = None
    """What takes the place of the default, in words, where the value alone does not tell."""

    from_json: Reader | None = None
    """Reads a value of the configuration file; None: it is no key there."""

    switch: bool = False
    """``--name`` alone means true."""

    structured: bool = False
    """Its text has a grammar of its own. A mistake in it is told after the parsing of the command line."""

    @property
    def default_text(self) -> str | None:
        """The default in words or as it is written; None: without the option there is nothing."""
        if self.otherwise is not None:
            return self.otherwise
        if isinstance(self.default, tuple):
            return ",".join(self.default) or None
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return "off" if self.switch else str(self.default) if isinstance(self.default, int | str) else None

    @property
    def full_help(self) -> str:
        """``help`` and the default."""
        text = self.default_text
        return self.help if text is None or self.switch else f"{self.help} (default: {text})"

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable it can be given by."""
        return f"OVMS_{self.name.upper()}"


def parse_version_labels(value: object) -> dict[str, int]:
    """Read the object label -> version; ConfigError for anything else."""
    if not isinstance(value, dict):
        raise ConfigError('expected an object with versions by label, such as {"stable": 1}')
    return {_label(label): _version(label, version) for label, version in value.items()}


def _label(label: str) -> str:
    try:
        return name(label)
    except ConfigError as error:
        raise ConfigError(f"label {as_json(label)}: {explain(error, label, as_json)}") from None


def _version(label: str, version: object) -> int:
    try:
        return whole_number(1, LARGEST_VERSION)(version)
    except ConfigError as error:
        raise ConfigError(f"label {as_json(label)}: {explain(error, version, as_json)}") from None


def _simple(option: str, read: Reader, help: str, **others: Any) -> Option:
    return Option(option, from_text=read, from_json=read, help=help, **others)


def _grammar(option: str, read: Reader, help: str, **others: Any) -> Option:
    return Option(option, from_text=read, from_json=read, help=help, structured=True, **others)


def _json(option: str, read: Reader, help: str, **others: Any) -> Option:
    def from_text(given: str) -> Any:
        return read(parse_option(given))

    return Option(option, from_text=from_text, from_json=read, help=help, metavar="JSON", structured=True, **others)


def switch(option: str, help: str, *, key: bool = False) -> Option:
    """An option that is on or off, and off unless given."""
    from_json = switch_json if key else None
    return Option(
        option, from_text=switch_text, from_json=from_json, help=help, metavar="BOOL", default=False, switch=True
    )


MODEL_NAME: Final = Option("model_name", name, "the name clients ask for", "NAME")
MODEL_PATH: Final = Option(
    "model_path", path,
    "folder with one numbered folder per version, or one model file (.xml, .onnx, .tflite, .pdmodel, .pb), "
    "which is served as version 1; also s3://bucket/prefix, gs://bucket/prefix, az://container/prefix", "PATH",
)  # fmt: skip

MODEL_OPTIONS: Final = (
    _json(
        "model_version_policy", parse_policy,
        'which versions to serve: {"latest": {"num_versions": 2}}, {"specific": {"versions": [1, 3]}} or {"all": {}}',
        default=Latest(), otherwise='{"latest": {"num_versions": 1}}',
    ),
    _json(
        "version_labels", parse_version_labels,
        'labels that requests may ask for instead of a version: {"stable": 1, "canary": 2}', default={},
    ),
    _simple(
        "batch_size", parse_batch_size,
        "size of the first dimension of the inputs; auto takes any; without effect beside --shape", metavar="N|auto",
        otherwise="the model's own",
    ),
    _grammar(
        "shape", parse_shape,
        'shape of the only input, such as "(1,3,224,224)" or "(-1,3,224:512,224:512)"; "auto"; or JSON with one for '
        'each input: {"in1": "(1,3,224,224)", "in2": "auto"}',
        metavar="SHAPE", default={}, otherwise="the model's own",
    ),
    _simple(
        "compiled_shapes", whole_number(0, 1024),
        "how auto adapts: 0 makes dimensions dynamic where the model takes that; N compiles the model for each shape "
        "and keeps the last N", default=0,
    ),
    _grammar(
        "layout", parse_layout,
        "NHWC:NCHW transposes what clients send into what the model takes; NHWC names the model's dimensions; or JSON "
        "by input", metavar="LAYOUT", default={},
    ),
    _grammar(
        "precision", parse_precision,
        "element type that clients send, such as FP32, u8 or u8:f32 (of which the second is the model's); or JSON by "
        "input", metavar="TYPE", default={}, otherwise="the model's own",
    ),
    _grammar(
        "color_format", parse_color_format,
        "BGR:RGB converts what clients send into what the model takes; or JSON by input", metavar="COLORS", default={},
    ),
    _grammar(
        "mean", parse_mean,
        "is subtracted from the input: a number, [123.675,116.28,103.53] by channel, or JSON by input",
        metavar="NUMBERS", default={},
    ),
    _grammar(
        "scale", parse_scale, "the input is divided by it, after --mean; written as --mean is",
        metavar="NUMBERS", default={},
    ),
    _simple(
        "nireq", whole_number(0, 1024),
        "infer requests per version, that is how many requests it computes at once; 0 lets the device choose",
        default=0,
    ),
    _simple(
        "max_queue", whole_number(0),
        "requests that may wait for an infer request of a version; more are refused with RESOURCE_EXHAUSTED",
        otherwise="no limit",
    ),
    _simple(
        "target_device", text, "OpenVINO device: CPU, GPU, AUTO, MULTI:GPU,CPU, ...",
        metavar="DEVICE", default="CPU",
    ),
    _json(
        "plugin_config", parse_plugin_config,
        'OpenVINO properties for the device, such as {"NUM_STREAMS": 2, "INFERENCE_NUM_THREADS": 4}', default={},
    ),
    _simple(
        "warmup", whole_number(0, 100_000),
        "inferences on each infer request before a version is AVAILABLE", default=0,
    ),
    switch("unload_before_load", "free a version's memory before its successor loads; leaves a gap", key=True),
    switch("ready_file", "a version counts only once its folder holds a file named .ready", key=True),
    switch("reload_on_change", "load a version again when its files change", key=True),
    _simple(
        "endpoint", parse_endpoint,
        "URL of the object store's server, such as http://minio:9000", metavar="URL", otherwise="the cloud's own",
    ),
    _simple(
        "region", name, "region of an S3 bucket", metavar="NAME", otherwise="what the AWS variables and files say",
    ),
    switch("anonymous", "ask the object store without credentials", key=True),
)  # fmt: skip
"""All that can be set for one model, besides its name and its path."""
