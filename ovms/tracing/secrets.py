"""What is secret in OpenTelemetry's variables: its packages repeat headers and endpoints when something fails."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SHORTEST: Final = 4
"""Characters of what is hidden: less is no secret, and would be found in many words."""

_MASK: Final = "***"


class Secrets:
    """Hides the values of headers, and an endpoint's user, password and query."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Those of these variables."""
        found = {" ".join(form.split()) for form in _forms(environment)}
        self._found = sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """The text on one line, with a mask in the place of each secret."""
        line = " ".join(text.split())
        for secret in self._found:
            line = line.replace(secret, _MASK)
        return line


def _forms(environment: Mapping[str, str]) -> Iterator[str]:
    for value in (environment.get(name, "") for name in _HEADERS):
        for piece in (value, *value.split(",")):
            # A piece that is no "name=value" may be a part of a value.
            for part in {piece, piece.partition("=")[2]}:
                read = unquote(part).strip()
                yield from (part, read, repr(part)[1:-1], repr(read)[1:-1])
    for value in (environment.get(name, "") for name in _ENDPOINTS):
        for pattern in (r"//([^/?#]*)@", r"\?(.*)"):
            for part in re.findall(pattern, value, re.DOTALL):
                yield part
                yield unquote(part)
