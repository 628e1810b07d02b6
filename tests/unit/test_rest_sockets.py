"""Listening for REST: which addresses, and whose fault it is when that cannot be."""

import socket

import pytest

from ovms.config import RestConfig
from ovms.errors import Code, ServingError
from ovms.frontends.wsgi_sockets import listen


def closing(sockets: list[socket.socket]) -> list[tuple[int, str]]:
    found = [(one.family, one.getsockname()[0]) for one in sockets]
    for one in sockets:
        one.close()
    return found


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("address", "ipv6", "expected"),
    [
        ("127.0.0.1", True, [(socket.AF_INET, "127.0.0.1")]),
        ("0.0.0.0", True, [(socket.AF_INET, "0.0.0.0")]),
        ("::", True, [(socket.AF_INET6, "::")] if has_ipv6() else [(socket.AF_INET, "0.0.0.0")]),
        ("[::]", True, [(socket.AF_INET6, "::")] if has_ipv6() else [(socket.AF_INET, "0.0.0.0")]),
        ("::", False, [(socket.AF_INET, "0.0.0.0")]),
        ("localhost", False, [(socket.AF_INET, "127.0.0.1")]),
    ],
)
def test_addresses(address: str, ipv6: bool, expected: list[tuple[int, str]]) -> None:
    assert closing(listen(RestConfig(bind_address=address), ipv6=ipv6)) == expected


def test_a_port_that_is_taken_on_one_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        for address in ("127.0.0.1", "0.0.0.0", "::", "localhost"):
            with pytest.raises(ServingError, match=r"--rest_port: .*cannot be listened on: Address already") as refused:
                listen(RestConfig(port=port, bind_address=address))
            assert refused.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "ipv6"), [("203.0.113.1", True), ("no.such.host.invalid", True), ("::1", False), ("a" * 70, True)]
)
def test_addresses_of_nobody(address: str, ipv6: bool) -> None:
    with pytest.raises(ServingError, match="--rest_bind_address: ") as refused:
        listen(RestConfig(bind_address=address), ipv6=ipv6)
    assert refused.value.code is Code.UNAVAILABLE
