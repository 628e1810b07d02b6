"""What the server counts, in Prometheus' text form."""

from ovms.metrics.calls import CallCounts
from ovms.metrics.counters import Counter
from ovms.metrics.events import Events
from ovms.metrics.models import ModelGauges
from ovms.metrics.page import Page, Snapshot
from ovms.metrics.text import CONTENT_TYPE, Counts

__all__ = ["CONTENT_TYPE", "CallCounts", "Counter", "Counts", "Events", "ModelGauges", "Page", "Snapshot"]
