"""The REST API with nothing but Python's own library: one JSON document there, one back."""

import argparse
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from examples.client_options import ExampleError, reason, rest_base, trusted

SECONDS = 60.0


def model_url(options: argparse.Namespace) -> str:
    """``http://localhost:5555/v1/models/NAME``, with ``/versions/N`` if one was asked for."""
    version = f"/versions/{options.model_version}" if options.model_version else ""
    return f"{rest_base(options)}/v1/models/{urllib.request.quote(options.model_name, safe='')}{version}"


def ask(url: str, options: argparse.Namespace, body: bytes | None = None) -> Any:
    """The JSON document that a GET, or a POST of `body`, gives. Raises `ExampleError`."""
    # Without one of ours, those of the system are trusted.
    https = options.rest_url.startswith("https:")
    context = trusted(options.tls_ca_file) if https and options.tls_ca_file else None
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            raise ExampleError(f"{url}: HTTP {error.code}: {_told(error.read())}") from error
    except urllib.error.URLError as error:
        why = reason(error.reason) if isinstance(error.reason, Exception) else error.reason
        raise ExampleError(f"{url}: no answer: {why}") from error
    except (OSError, http.client.HTTPException) as error:
        why = reason(error) or type(error).__name__
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
            why = "the answer is no HTTP; is this the port for REST?"  # the text is what came, such as bytes of gRPC
        raise ExampleError(f"{url}: {why}") from error
    except ValueError as error:  # of urllib for what is no URL, of json for what is no JSON
        raise ExampleError(f"{url}: {error}") from error


def _told(body: bytes) -> str:
    """The text of an error; the API has it under "error", what stands before a server may have anything."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "no text"
