"""A server that has done a bit of everything, and what its ``/metrics`` tells, read by Prometheus' own parser."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from ovms_client import Client, InvalidArgument
from prometheus_client.parser import text_string_to_metric_families
from repository import ROW, Repository, until, until_answer
from rest_calls import ask
from server_under_test import Server, free_port, starting

from tests.certificates import make_certificates

NOT_TLS = b"GET / HTTP/1.1\r\n\r\n"


@dataclass(frozen=True)
class Sample:
    """One number."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Family:
    """One metric."""

    type: str
    documentation: str
    samples: list[Sample]


@dataclass
class Monitored:
    """The server, and its port of REST."""

    server: Server
    rest: int
    repository: Repository

    def text(self) -> str:
        answer = ask(self.rest, "GET", "/metrics")
        assert answer.status == 200
        return answer.body.decode()

    def families(self) -> dict[str, Family]:
        """By the names that the server gives them."""
        text = self.text()
        found = {}
        for one in text_string_to_metric_families(text):
            total = f"{one.name}_total"  # what the parser calls every counter's samples
            name = total if f"# TYPE {total} counter\n" in text else one.name
            samples = [
                Sample(name if each.name == total else each.name, each.labels, each.value) for each in one.samples
            ]
            found[name] = Family(one.type, one.documentation, samples)
        return found

    def value(self, name: str, /, **labels: str) -> float:
        """Of the samples with this name and these labels, all together."""
        samples = [sample for family in self.families().values() for sample in family.samples]
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


@contextmanager
def monitored(root: Path) -> Iterator[Monitored]:
    """gRPC has TLS, REST has none. Model m was served, changed, broken and asked; other came and went."""
    certificates = make_certificates(root)
    repository = Repository(root / "models")
    repository.put("m", 1)
    repository.put("other", 1, 5)
    m = repository.entry("m", shape="auto", compiled_shapes=2)
    repository.write(m, repository.entry("other"))
    rest = free_port()
    arguments = ("config", "--config_path", str(repository.file), "--port", "0", "--rest_port", str(rest))
    tls = ("--tls_cert_file", certificates.server, "--tls_key_file", certificates.key, "--tls_ports", "grpc")
    with starting(*arguments, *tls, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1") as server:
        server.wait_until_ready()
        made = Monitored(server, rest, repository)
        authority = Path(certificates.ca).read_bytes()
        with Client(server.address, credentials=grpc.ssl_channel_credentials(authority), timeout=60) as client:
            for rows in (1, 1, 2, 2):
                client.predict("m", {"x": np.zeros((rows, 10), np.float32)})
            with pytest.raises(InvalidArgument):
                client.predict("m", {"wrong": ROW})
            client.status("m")
            until_answer(client, "other", 5)
            repository.write(m)
            until_answer(client, "other", "NotFound")
        assert ask(rest, "POST", "/v1/models/m:predict", json.dumps({"instances": [[0] * 10]})).status == 200
        with socket.create_connection(("127.0.0.1", server.port)) as stranger:
            stranger.sendall(NOT_TLS)
            server.wait_for_line("TLS: no connection with")
        repository.put_corrupt("m", 2)
        server.wait_for_line("Content error")
        repository.write_text("{")
        server.wait_for_line("The changed configuration is not used")
        repository.write(m, repository.entry("nothing"))  # of which there is no version
        until(lambda: made.value("ovms_model_unloads_total", name="other", result="success") == 1, made.text)
        yield made
        assert server.stop() == 0, server.text
