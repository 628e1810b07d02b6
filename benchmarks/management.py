"""Management rows: what changing and keeping many models costs, and what clients notice of it."""

from benchmarks import management_latency, management_memory, management_scale
from benchmarks.report import Section

TEXT = """
Real server processes whose models are loaded, replaced and looked at while they serve. Baselines and ways of measuring
are said with each table.
"""


def run(quick: bool) -> Section:
    """Measure latency during loads, memory over reloads, and scale."""
    section = Section("Model management", TEXT)
    management_latency.measure(section, quick)
    management_memory.measure(section, quick)
    management_scale.measure(section, quick)
    return section
