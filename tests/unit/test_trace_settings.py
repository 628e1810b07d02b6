"""OpenTelemetry's variables, as the server reads them."""

import pytest

from ovms.tracing.settings import Sampling, TraceSettings, trace_settings

THERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
HALF = 1 << 63


def read(**variables: str) -> tuple[TraceSettings | None, list[str]]:
    warnings: list[str] = []
    return trace_settings(variables, warnings.append), warnings


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector"},
        {**THERE, "OTEL_SDK_DISABLED": "True"},
        {**THERE, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_no_traces(variables: dict[str, str]) -> None:
    assert read(**variables) == (None, [])


def test_defaults_are_the_specification_s() -> None:
    expected = TraceSettings("http/protobuf", Sampling(True, None), 2048, 512, 5.0)
    assert read(**THERE) == (expected, [])
    assert read(OTEL_TRACES_EXPORTER="otlp") == (expected, [])
    assert read(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://collector/v1/traces") == (expected, [])


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("always_on", "", Sampling(False, None)),
        ("always_off", "", Sampling(False, 0)),
        ("traceidratio", "0.5", Sampling(False, HALF)),
        ("traceidratio", "", Sampling(False, None)),
        ("parentbased_always_on", "", Sampling(True, None)),
        ("parentbased_always_off", "0.5", Sampling(True, 0)),
        ("PARENTBASED_TRACEIDRATIO", "0.25", Sampling(True, HALF // 2)),
        ("parentbased_traceidratio", "1", Sampling(True, None)),
        ("parentbased_traceidratio", "0", Sampling(True, 0)),
    ],
)
def test_samplers(name: str, argument: str, expected: Sampling) -> None:
    found, warnings = read(**THERE, OTEL_TRACES_SAMPLER=name, OTEL_TRACES_SAMPLER_ARG=argument)
    assert found is not None
    assert (found.sampling, warnings) == (expected, [])


def test_a_ratio_takes_its_share_of_traces() -> None:
    sampling = Sampling(True, HALF)
    assert sampling.takes(HALF - 1)
    assert not sampling.takes(HALF)
    assert sampling.takes((1 << 64) + 5)
    assert not Sampling(True, 0).takes(0)
    assert Sampling().takes((1 << 128) - 1)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected always_on, always_off or traceidratio"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected http/protobuf, which is taken, or grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "is not a whole number from 1 to 3600000; 5000 is taken"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1e3", "is not a whole number from 1 to 1048576; 2048 is taken"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "²", "is not a whole number from 1 to 65536; 512 is taken"),
    ],
)
def test_what_cannot_be_used_is_warned_about(variable: str, value: str, said: str) -> None:
    found, (warning,) = read(**THERE, **{variable: value})
    assert found == read(**THERE)[0]
    assert variable in warning
    assert said in warning


@pytest.mark.parametrize("ratio", ["-0.1", "1.5", "nan", "half"])
def test_a_ratio_that_is_none(ratio: str) -> None:
    found, (warning,) = read(**THERE, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=ratio)
    assert found is not None
    assert found.sampling == Sampling(False, None)
    assert warning == f"OTEL_TRACES_SAMPLER_ARG: {ratio!r} is not a number from 0 to 1; 1 is taken"


def test_another_exporter_is_not_offered() -> None:
    found, (warning,) = read(**THERE, OTEL_TRACES_EXPORTER="zipkin")
    assert found is None
    assert warning.startswith("OTEL_TRACES_EXPORTER: 'zipkin' is not offered")
