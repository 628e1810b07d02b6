"""What OpenTelemetry's packages say is passed on, without what is secret in their variables."""

import logging
from collections.abc import Iterator

import pytest

from ovms.core.servable import ServableId
from ovms.core.work import Doing, Work
from ovms.metrics import Counter
from ovms.tracing import make_tracer
from ovms.tracing.secrets import Secrets

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spans() -> Counter:
    return Counter("spans", "Spans.", ("result",))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The logger of OpenTelemetry as it was."""
    theirs = logging.getLogger("opentelemetry")
    handlers, propagate = list(theirs.handlers), theirs.propagate
    yield
    theirs.handlers[:], theirs.propagate = handlers, propagate


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the server's own loggers."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("ovms") and record.levelno >= logging.WARNING
    ]


def sent(monkeypatch: pytest.MonkeyPatch, spans: Counter, **variables: str) -> None:
    """A tracer with these variables fails to send a span."""
    environment = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2", **variables}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracer = make_tracer(environment, "1", spans)
    assert tracer is not None
    tracer.on_work(Work(Doing.LOADING, ServableId("m", 1), 0.0, 0.1, None))
    tracer.start()
    tracer.stop()
    assert 'spans{result="failed"} 1' in list(spans.lines())


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20QWxh%0AZGRp"},
            "return character(s) in header value: '***'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318/v1/traces?token=QWxhZGRp"},
            "No connection adapters were found for 'collector:4318/v1/traces?***'",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:QWxhZGRp@127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            "Failed to export traces to ***@127.0.0.1:9",
        ),
    ],
    ids=["header", "query", "password"],
)
def test_why_nothing_is_sent_is_said_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spans: Counter,
    variables: dict[str, str],
    said: str,
) -> None:
    sent(monkeypatch, spans, **variables)
    (line,) = warnings(caplog)
    assert line.startswith("Traces cannot be sent, and are lost: ")
    assert said in line
    assert "QWxh" not in line
    assert "ZGRp" not in line


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key QWxhZGRp", "Header format invalid!"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon", "Invalid timeout value 'soon'"),
    ],
)
def test_what_only_opentelemetry_reads_is_warned_about_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spans: Counter,
    variable: str,
    value: str,
    said: str,
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, variable: value}
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert make_tracer(environment, "1", spans) is not None
    (line,) = warnings(caplog)
    assert line.startswith(f"OpenTelemetry: {said}")
    assert "QWxhZGRp" not in line


def test_words_are_not_taken_for_secrets() -> None:
    headers = "tenant=1, api-key=QWxhZGRp"
    secrets = Secrets({"OTEL_EXPORTER_OTLP_HEADERS": headers, "OTEL_EXPORTER_OTLP_ENDPOINT": "a?b"})
    assert secrets.hidden("code 1\nfor  QWxhZGRp a?b") == "code 1 for *** a?b"
    assert Secrets({}).hidden("as it is") == "as it is"
