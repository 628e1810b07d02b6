"""``ovms ready``: whether a server on this machine is ready, for health checks of containers and for scripts."""

from ovms.ready.check import check_ready

__all__ = ["check_ready"]
