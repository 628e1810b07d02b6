import errno
import os
import socket
from typing import Any

import pytest

from ovms.config import GrpcConfig
from ovms.errors import Code, ServingError
from ovms.frontends import listening
from ovms.frontends.listening import check_endpoint


def refusal(address: str, port: int = 0) -> str:
    with pytest.raises(ServingError) as refused:
        check_endpoint(GrpcConfig(port=port, bind_address=address))
    assert refused.value.code is Code.UNAVAILABLE
    return refused.value.message


@pytest.mark.parametrize("address", ["::", "[::]", "0.0.0.0", "127.0.0.1", "localhost"])
def test_what_can_be_listened_on(address: str) -> None:
    check_endpoint(GrpcConfig(port=0, bind_address=address))


@pytest.mark.parametrize("taken_at", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("address", ["::", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_port_that_is_taken(address: str, taken_at: str) -> None:
    with socket.create_server((taken_at, 0)) as taken:
        port = taken.getsockname()[1]
        shown = f"[{address}]" if ":" in address else address
        assert refusal(address, port) == f"--port: {shown}:{port}: cannot be listened on: Address already in use"


def test_a_port_that_another_would_share(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        assert "Address already in use" in refusal("127.0.0.1", taken.getsockname()[1])


def test_an_address_of_another_machine() -> None:
    expected = "--grpc_bind_address: 192.0.2.1: cannot be listened on: Cannot assign requested address"
    assert refusal("192.0.2.1", 9000) == expected


@pytest.mark.parametrize("address", ["999.1.2.3", "no such host", "a..b", "x" * 300])
def test_what_is_no_address(address: str) -> None:
    assert refusal(address).startswith(f"--grpc_bind_address: {address}: cannot be listened on: ")


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(family: int, place: Any) -> OSError | None:
        return OSError(number, os.strerror(number)) if family == socket.AF_INET6 else real(family, place)

    real = listening._listen
    monkeypatch.setattr(listening, "_listen", listen)
    check_endpoint(GrpcConfig(port=0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert refusal("::", taken.getsockname()[1]).startswith("--port: [::]:")
    assert refusal("::1").startswith("--grpc_bind_address: ::1: cannot be listened on: ")
