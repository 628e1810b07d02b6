"""Traces for OpenTelemetry: which calls are recorded, and how they get to a collector.

Nothing here imports OpenTelemetry unless traces were asked for.
"""

from ovms.tracing.settings import Sampling
from ovms.tracing.tracer import Tracer, make_tracer

__all__ = ["Sampling", "Tracer", "make_tracer"]
