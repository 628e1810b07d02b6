"""The thread that takes what was recorded and sends it to a collector."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ovms.core.work import Work
from ovms.errors import Code, ServingError
from ovms.metrics import Counter
from ovms.tracing.secrets import Secrets
from ovms.tracing.settings import TraceSettings, trace_settings
from ovms.tracing.spans import CallRecord, SpanMaker, new_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

LAST_SECONDS: Final = 2.0
"""For sending the last spans when the server stops."""

MOST_WORDS: Final = 8
"""Lines of OpenTelemetry's that are kept until somebody reads them."""

logger = logging.getLogger(__name__)


class Tracer:
    """Made, started and stopped once. OpenTelemetry is imported with the first of them."""

    def __init__(self, settings: TraceSettings, version: str, spans: Counter, secrets: Secrets) -> None:
        """``spans`` counts what became of them; ``secrets`` are not to be logged.

        ServingError FAILED_PRECONDITION if OpenTelemetry's packages are not installed, or refuse their variables.
        """
        self.settings = settings
        self._spans = spans
        self._words = _Words(secrets)
        self._exporter, self._make = _exporter(settings, version, self._words)
        for text in dict.fromkeys(self._words.taken()):
            logger.warning("OpenTelemetry: %s", text)
        self._take: Callable[[], Sequence[CallRecord]] = lambda: ()
        self._dropped: Callable[[], int] = lambda: 0
        self._told_dropped = 0
        self._works: deque[tuple[Work, int]] = deque()
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def connect(self, take: Callable[[], Sequence[CallRecord]], dropped: Callable[[], int]) -> None:
        """Where calls come from: those since the last time, and how many there was no room for. Before ``start``."""
        self._take, self._dropped = take, dropped

    def on_work(self, work: Work) -> None:
        """A version was loaded or unloaded, or could not be; from any thread."""
        trace = new_id(128)
        if not self.settings.sampling.takes(trace):
            return
        with self._guard:
            if len(self._works) < self.settings.queue:
                self._works.append((work, trace))
                return
        self._spans.add(1, "dropped")

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Send what there is, at most for a moment."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(LAST_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(self.settings.pause):
            self._round()
        self._round()
        self._exporter.shutdown()

    def _round(self) -> None:
        try:
            self._send_all()
        except Exception:
            logger.exception("Unexpected error while traces were sent")

    def _send_all(self) -> None:
        calls = self._take()
        dropped = self._dropped()
        self._spans.add(dropped - self._told_dropped, "dropped")
        self._told_dropped = dropped
        with self._guard:
            works, self._works = list(self._works), deque()
        batch: list[ReadableSpan] = []
        for together in self._made(works, calls):
            if batch and len(batch) + len(together) > self.settings.batch:
                self._send(batch)
                batch = []
            batch.extend(together)
        if batch:
            self._send(batch)

    def _made(
        self, works: Sequence[tuple[Work, int]], calls: Sequence[CallRecord]
    ) -> "Iterator[Sequence[ReadableSpan]]":
        """The spans of each load and of each call."""
        for work, trace in works:
            yield [self._make.of_work(work, trace)]
        for call in calls:
            yield list(self._make.of_call(call))

    def _send(self, batch: "Sequence[ReadableSpan]") -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        self._spans.add(len(batch), "sent" if sent else "failed")
        said = self._words.taken()
        if not sent and not self._failing:
            why = said[-1] if said else "the exporter gives no reason"
            logger.warning("Traces cannot be sent, and are lost: %s", why)
        elif sent and self._failing:
            logger.info("Traces are sent again")
        self._failing = not sent


def make_tracer(environment: Mapping[str, str], version: str, spans: Counter) -> Tracer | None:
    """What the variables ask for. A server does without traces rather than not serve: what is wrong is warned about."""
    settings = trace_settings(environment, logger.warning)
    if settings is None:
        return None
    secrets = Secrets(environment)
    try:
        return Tracer(settings, version, spans, secrets)
    except ServingError as error:
        logger.warning("There are no traces: %s", secrets.hidden(error.message))
        return None


class _Words(logging.Handler):
    """What OpenTelemetry's loggers said last: one line of ours tells it once, theirs would come with each attempt."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets
        self._said: deque[str] = deque(maxlen=MOST_WORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._said.append(self._secrets.hidden(record.getMessage()))

    def taken(self) -> list[str]:
        """What was said since the last time."""
        said = list(self._said)
        self._said.clear()
        return said


def _exporter(settings: TraceSettings, version: str, words: logging.Handler) -> "tuple[SpanExporter, SpanMaker]":
    began = time.monotonic()
    theirs = logging.getLogger("opentelemetry")
    theirs.addHandler(words)
    theirs.propagate = False
    made: Any
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

        if settings.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            made = OTLPSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

            made = OverHttp()
    except ImportError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"OpenTelemetry is not installed: {error.name}: pip install 'ovms[otel]'"
        ) from None
    except Exception as error:  # what its packages say of variables that only they read
        raise ServingError(Code.FAILED_PRECONDITION, f"{type(error).__name__}: {error}") from None
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "ovms"}))
    logger.debug("OpenTelemetry: ready after %.0f ms", (time.monotonic() - began) * 1000)
    return made, SpanMaker(resource, version)
