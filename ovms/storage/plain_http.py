"""What may be sent without TLS, where whoever stands in between reads it."""

import ipaddress
from urllib.parse import urlsplit

from ovms.storage.proxies import proxy_for


def safe_for_secrets(url: str) -> bool:
    """Whether a secret may be sent there: over TLS, or without leaving this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    if not _is_here(parts.hostname or ""):
        return False
    proxy = proxy_for("http", parts.hostname or "", parts.port or 80)
    return proxy is None or _is_here(proxy.host)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
