"""Listening: which addresses, and whose fault it is when that cannot be."""

import socket
from pathlib import Path

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


def test_several_addresses_have_one_port() -> None:
    opened = listen("127.0.0.1, 127.0.0.2")
    assert len({one.getsockname()[1] for one in opened}) == 1
    assert closing(opened) == [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2")]


def test_one_of_several_addresses_is_taken() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taker:
        port = taker.getsockname()[1]
        with pytest.raises(ServingError, match=r"--the_port: 127\.0\.0\.2:\d+: cannot be listened on: Address already"):
            listen("127.0.0.1,127.0.0.2", port)
        closing(listen("127.0.0.1", port))  # what was opened before is closed again


def listen_unix(path: Path) -> socket.socket:
    return sockets.listen_unix(str(path), option="--the_path")


def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    with listen_unix(tmp_path / "s"):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_what_a_server_left_behind_is_taken_over(tmp_path: Path) -> None:
    listen_unix(tmp_path / "s").close()
    assert (tmp_path / "s").exists()
    listen_unix(tmp_path / "s").close()


def test_a_unix_socket_that_is_used(tmp_path: Path) -> None:
    with listen_unix(tmp_path / "s"), pytest.raises(ServingError, match=r"--the_path: .*: Address already in use"):
        listen_unix(tmp_path / "s")


@pytest.mark.parametrize("name", ["file", "no/such/folder", "x" * 200])
def test_places_that_are_none_for_a_socket(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("something of somebody's")
    with pytest.raises(ServingError, match=r"--the_path: .*: cannot be listened on: "):
        listen_unix(tmp_path / name)
    assert (tmp_path / "file").read_text() == "something of somebody's"
