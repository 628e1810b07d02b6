"""The gRPC front ends that this installation has."""

import pytest

from ovms.frontends.native import native_available

NATIVE_ONLY = pytest.mark.skipif(bool(native_available()), reason=f"no native front end: {native_available()}")
ENGINES = [pytest.param("native", marks=NATIVE_ONLY), "grpcio"]
