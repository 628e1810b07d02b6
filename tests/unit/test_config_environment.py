"""Where the value of an option comes from, and what of it may be seen in a log."""

import logging
from collections.abc import Mapping

import pytest

from ovms.config.assemble import cpu_extension
from ovms.config.environment import (
    ALL_OPTIONS,
    default_cpu_extension,
    seen_variables,
    serialization,
    unknown_variables,
)
from ovms.config.options import MODEL_NAME, MODEL_OPTIONS, MODEL_PATH
from ovms.config.secret import MASK, is_secret, masked
from ovms.config.server_options import LOG_LEVELS, SERVER_OPTIONS
from ovms.config.settings import Settings
from ovms.core.version_policy import All
from ovms.errors import ConfigError

OPTIONS = (MODEL_NAME, MODEL_PATH, *MODEL_OPTIONS, *SERVER_OPTIONS)


def settings(environment: Mapping[str, str], **arguments: object) -> Settings:
    return Settings(OPTIONS, arguments, environment)


@pytest.mark.parametrize(
    ("name", "environment", "arguments", "value", "place"),
    [
        ("port", {}, {}, 9000, None),
        ("port", {"OVMS_PORT": "1"}, {}, 1, "OVMS_PORT"),
        ("port", {"OVMS_PORT": "1"}, {"port": 2}, 2, "--port"),
        ("port", {"OVMS_PORT": "x"}, {"port": 2}, 2, "--port"),
        ("port", {"OVMS_PORT": ""}, {}, 9000, None),
        ("port", {"PORT": "1"}, {}, 9000, None),
        ("port", {"OVMS_PORT": "tcp://10.0.0.11:9000"}, {}, 9000, None),
        ("log_level", {"LOG_LEVEL": "debug"}, {}, "DEBUG", "LOG_LEVEL"),
        ("log_level", {"LOG_LEVEL": "LOUD"}, {}, "INFO", "LOG_LEVEL"),
        ("log_level", {"LOG_LEVEL": "DEBUG", "OVMS_LOG_LEVEL": "error"}, {}, "ERROR", "OVMS_LOG_LEVEL"),
        ("log_level", {"LOG_LEVEL": "DEBUG"}, {"log_level": "ERROR"}, "ERROR", "--log_level"),
        ("log_path", {"LOG_PATH": "/l"}, {}, "/l", "LOG_PATH"),
        ("file_system_poll_wait_seconds", {}, {}, 1.0, None),
        (
            "file_system_poll_wait_seconds",
            {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0.25"}, {}, 0.25, "FILE_SYSTEM_POLL_WAIT_SECONDS",
        ),
        (
            "file_system_poll_wait_seconds",
            {"FILE_SYSTEM_POLL_WAIT_SECONDS": "x", "OVMS_FILE_SYSTEM_POLL_WAIT_SECONDS": "-1"}, {}, -1.0,
            "OVMS_FILE_SYSTEM_POLL_WAIT_SECONDS",
        ),
        ("cpu_extension", {"CPU_EXTENSION": "/x.so"}, {}, "/x.so", "CPU_EXTENSION"),
        ("model_version_policy", {"OVMS_MODEL_VERSION_POLICY": '{"all": {}}'}, {}, All(), "OVMS_MODEL_VERSION_POLICY"),
        ("model_version_policy", {}, {"model_version_policy": '{"all": {}}'}, All(), "--model_version_policy"),
        ("shape", {"OVMS_SHAPE": "[1,3]"}, {}, {"": "[1,3]"}, "OVMS_SHAPE"),
        ("ready_file", {"OVMS_READY_FILE": "on"}, {}, True, "OVMS_READY_FILE"),
        ("ready_file", {"OVMS_READY_FILE": "on"}, {"ready_file": False}, False, "--ready_file"),
    ],
)  # fmt: skip
def test_what_goes_first(
    name: str, environment: dict[str, str], arguments: dict[str, object], value: object, place: str | None
) -> None:
    found = settings(environment, **arguments)
    assert (found[name], found.place(name)) == (value, place)


@pytest.mark.parametrize(
    ("variable", "given", "message"),
    [
        ("OVMS_PORT", "http", "'http' is not a port number, 0 to 65535"),
        ("OVMS_NIREQ", "-1", "'-1' is not a whole number, 0 or more"),
        ("OVMS_MODEL_NAME", " ", "must not be empty"),
        ("OVMS_STRICT_DTYPES", "maybe", "'maybe' is not 1 or 0, true or false, yes or no, on or off"),
        ("OVMS_LOG_LEVEL", "LOUD", "'LOUD' is not one of DEBUG, INFO, ERROR"),
        ("OVMS_REST_PORT", "-", "'-' is not a port number, or 0 for none"),
        ("OVMS_DRAIN_SECONDS", "-1", "'-1' is not a number of seconds, 0 or more"),
        ("FILE_SYSTEM_POLL_WAIT_SECONDS", "often", "'often' is not a number of seconds"),
        ("FILE_SYSTEM_POLL_WAIT_SECONDS", "nan", "'nan' is not a number of seconds"),
        ("OVMS_PLUGIN_CONFIG", "{", "not valid JSON: Expecting property name enclosed in double quotes at column 2"),
        ("OVMS_SHAPE", "big", "Error getting shapes from the string: big: \"big\" is not a shape"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_variable(variable: str, given: str, message: str) -> None:
    name = variable.removeprefix("OVMS_").lower()
    with pytest.raises(ConfigError) as refused:
        settings({variable: given})[name]
    assert refused.value.message.startswith(f"{variable}: {message}")
    assert settings({variable: given}).mistakes() == [refused.value.message]


def test_unknown_variables() -> None:
    environment = {"OVMS_PROT": "1", "OVMS_PORT": "1", "ovms_x": "1", "PATH": "/", "OVMS_": "x", "OVMS_GRPC_PORT": "1"}
    assert unknown_variables(environment) == ["OVMS_", "OVMS_GRPC_PORT", "OVMS_PROT"]


def test_what_kubernetes_says_of_its_services_is_not_meant_for_us() -> None:
    environment = {
        "OVMS_SERVICE_HOST": "10.0.0.11",
        "OVMS_SERVICE_PORT": "9000",
        "OVMS_SERVICE_PORT_GRPC": "9000",
        "OVMS_PORT": "tcp://10.0.0.11:9000",
        "OVMS_PORT_9000_TCP": "tcp://10.0.0.11:9000",
        "OVMS_PORT_9000_TCP_ADDR": "10.0.0.11",
        "OVMS_BLUE_PORT": "tcp://10.0.0.12:9000",
        "OVMS_BLUE_SERVICE_HOST": "10.0.0.12",
    }
    assert unknown_variables(environment) == []
    assert settings(environment)["port"] == 9000


def test_serialization() -> None:
    assert serialization({}) == "make_tensor_proto"
    legacy = {"SERIALIZATION_FUNCTION": "_prepare_output_as_AppendArrayToTensorProto"}
    assert serialization(legacy) == "append_array"


def test_the_last_of_the_ancestors_extensions_that_is_there() -> None:
    assert default_cpu_extension(lambda place: False) is None
    assert default_cpu_extension(lambda place: "local" in place) == "/usr/local/lib/libcpu_extension.so"
    assert default_cpu_extension(lambda place: "/lib" in place).startswith("/opt/intel/openvino/")  # type: ignore[union-attr]
    assert cpu_extension(settings({"CPU_EXTENSION": "/a.so", "OVMS_CPU_EXTENSION": "/b.so"})) == "/b.so"


def test_only_known_variables_are_seen() -> None:
    environment = {"OVMS_PORT": "1", "LOG_LEVEL": "DEBUG", "AWS_SECRET_ACCESS_KEY": "s", "HOME": "/", "OVMS_X": "s"}
    assert seen_variables(environment) == {"LOG_LEVEL": "DEBUG", "OVMS_PORT": "1"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("AWS_SECRET_ACCESS_KEY", "s", MASK),
        ("api_token", "s", MASK),
        ("DbPassword", 4711, MASK),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/k.json", MASK),
        ("port", 9000, 9000),
        ("path", "s3://user:secret@host/m", f"s3://{MASK}@host/m"),
        ("path", "https://host/m?sig=abc&se=1", f"https://host/m?{MASK}"),
        ("path", "/models/m?", "/models/m?"),
        ("options", '{"A": 1, "CACHE_TOKEN": "s"}', '{"A": 1, "CACHE_TOKEN": "***"}'),
        ("options", '{"A": 1, "CACHE_TOKEN": "s"', MASK),
        ("options", '{"A": 1', '{"A": 1'),
        ("options", {"A": {"SECRET": "s", "B": ["x://a:b@c"]}}, {"A": {"SECRET": MASK, "B": [f"x://{MASK}@c"]}}),
        ("options", {"KEY_CPU_THREADS_NUM": "8", "KEY_TOKEN": "s"}, {"KEY_CPU_THREADS_NUM": "8", "KEY_TOKEN": MASK}),
    ],
)
def test_secrets_are_masked(name: str, value: object, shown: object) -> None:
    assert masked(name, value) == shown


def test_no_option_is_taken_for_a_secret() -> None:
    assert [option.name for option in ALL_OPTIONS if is_secret(option.name)] == []


def test_levels_are_those_of_the_log() -> None:
    logger = logging.Logger("apart")
    for level in LOG_LEVELS:
        logger.setLevel(level)  # ValueError for a name that logging does not know
        assert logging.getLevelName(logger.level) == level


def test_arguments_for_the_log() -> None:
    found = settings({}, port=1, plugin_config='{"TOKEN": "s"}', command="model", usage_error=print)
    assert found.arguments() == {"plugin_config": '{"TOKEN": "***"}', "port": 1}
