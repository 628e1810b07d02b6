"""Models for tests and benchmarks: synthetic ones made here, real ones from pinned wheels.

Import with the root of the project on the path: ``from tests.models import synthetic, zoo``.
"""
