"""The client's API key: how it is sent, and what cannot be one."""

import asyncio
from typing import Any

import pytest
from ovms_client import AsyncClient, Client
from scripted_server import answer, scripted

KEY = "q3vUVa0kLWb3Z9Yx"
STATUS = answer(b'{"model_version_status": []}')


def blocking(address: str, **options: Any) -> object:
    with Client(address, **options) as client:
        return client.status("echo")


def awaited(address: str, **options: Any) -> object:
    async def call() -> object:
        async with AsyncClient(address, **options) as client:
            return await client.status("echo")

    return asyncio.run(call())


@pytest.mark.parametrize("ask", [blocking, awaited])
def test_rest_has_it_in_a_header(ask: Any) -> None:
    with scripted(STATUS, STATUS) as server:
        ask(server.address, api_key=KEY)
        ask(server.address)
        with_key, without = (request.splitlines() for request in server.requests)
        assert f"authorization: Bearer {KEY}".encode() in with_key
        assert not any(b"authorization" in line.lower() for line in without)


@pytest.mark.parametrize("ask", [blocking, awaited])
@pytest.mark.parametrize("address", ["localhost:1", "http://localhost:1"])
@pytest.mark.parametrize("key", ["", "a b", "key\r\nHost: other", "schl\u00fcssel"])
def test_what_no_header_can_carry_is_refused_unseen(ask: Any, address: str, key: str) -> None:
    with pytest.raises(ValueError, match="api_key: expected visible characters of ASCII") as raised:
        ask(address, api_key=key)
    assert not key or key not in str(raised.value)
