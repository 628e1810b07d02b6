"""Files of API keys, and what a client brings of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

PREDICT, ADMIN, METRICS = "predict-q3vUVa0kLWb3Z9Yx", "admin-4aH1b8sJvK6mTq2e", "metrics-9XcR5nWd7LpZ0uFi"
WRONG = "predict-q3vUVa0kLWb3Z9Yy"
WANTED = "expected a valid API key, as 'authorization: Bearer KEY' or 'x-api-key: KEY'"
NOT_ALLOWED = "the API key does not allow this call"
LINES = (
    f"client predict {PREDICT}",
    f"deploy admin sha256:{hashlib.sha256(ADMIN.encode()).hexdigest()}",
    f"prometheus metrics {METRICS}",
)


def write_keys(path: Path, lines: Sequence[str] = LINES) -> Path:
    """A file that its owner alone may read, in one step."""
    made = path.with_suffix(".new")
    made.touch(0o600)
    made.write_text("\n".join(lines) + "\n")
    return made.rename(path)


def bearer(key: str) -> dict[str, str]:
    """REST's headers with a key."""
    return {"Authorization": f"Bearer {key}"}


def metadata(key: str) -> tuple[tuple[str, str], ...]:
    """gRPC's."""
    return (("authorization", f"Bearer {key}"),)
