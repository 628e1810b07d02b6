"""Listening: which addresses, and whose fault it is when that cannot be."""

import socket

import pytest

from ovms.errors import Code, ServingError
from ovms.frontends import sockets


def listen(address: str, port: int = 0, *, ipv6: bool = True) -> list[socket.socket]:
    return sockets.listen(address, port, port_option="--the_port", address_option="--the_address", ipv6=ipv6)


def closing(opened: list[socket.socket]) -> list[tuple[int, str]]:
    found = [(one.family, one.getsockname()[0]) for one in opened]
    for one in opened:
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
    assert closing(listen(address, ipv6=ipv6)) == expected


def test_a_port_that_is_taken_on_one_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        for address in ("127.0.0.1", "0.0.0.0", "::", "localhost"):
            with pytest.raises(ServingError, match=r"--the_port: .*cannot be listened on: Address already") as refused:
                listen(address, port)
            assert refused.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "ipv6"), [("203.0.113.1", True), ("no.such.host.invalid", True), ("::1", False), ("a" * 70, True)]
)
def test_addresses_of_nobody(address: str, ipv6: bool) -> None:
    with pytest.raises(ServingError, match="--the_address: ") as refused:
        listen(address, ipv6=ipv6)
    assert refused.value.code is Code.UNAVAILABLE


def test_any_free_port_is_the_same_on_every_address() -> None:
    opened = listen("localhost")
    assert len({one.getsockname()[1] for one in opened}) == 1
    closing(opened)
