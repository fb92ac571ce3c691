"""Connections that say nothing, or very little: they end, and keep nobody out."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from ocs.api.auth import Callers
from ocs.api.server import application, serving
from ocs.config.http import Http
from tests.ocs.api_harness import TOKEN, ApiHarness

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def server(harness: ApiHarness, http: Http) -> AsyncIterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(application(harness.backoffice, Callers({TOKEN: "admin"}), http), listener, http):
            host, port = listener.getsockname()
            yield host, port


async def healthy(address: tuple[str, int]) -> Pair:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(HEALTH)
    head = await asyncio.wait_for(reader.readuntil(b"{}}"), 10)
    assert head.startswith(b"HTTP/1.1 200")
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 20) == b""
    return True


async def test_a_thousand_idle_connections_keep_nobody_out(harness: ApiHarness) -> None:
    """`1,000 idle TCP connections to the HTTP port make everything 503, /healthz too`"""
    http = Http(connections_max=50, head_s=600)
    async with server(harness, http) as address:
        idle = [await asyncio.open_connection(*address) for _ in range(200)]
        reader, writer = await healthy(address)
        assert await ended(idle[0][0])
        more = [await asyncio.open_connection(*address) for _ in range(40)]
        writer.write(HEALTH)  # it fell silent later than they all
        assert (await asyncio.wait_for(reader.readuntil(b"{}}"), 10)).startswith(b"HTTP/1.1 200")
        for _, one in (*idle, *more, (reader, writer)):
            one.close()


async def test_an_address_has_a_bound_of_its_own(harness: ApiHarness) -> None:
    async with server(harness, Http(connections_max=1_000, address_connections_max=5, head_s=600)) as address:
        idle = [await asyncio.open_connection(*address) for _ in range(6)]
        assert await ended(idle[0][0])
        _, writer = await healthy(address)
        for _, one in (*idle, (None, writer)):
            one.close()


async def test_heads_and_bodies_that_drip_end(harness: ApiHarness) -> None:
    """`400 dripped heads held for ever`"""
    token = f"authorization: Bearer {TOKEN}\r\n".encode()
    unfinished = [
        b"",
        b"GET /healthz HTTP/1.1\r\nx: ",
        HEALTH + b"GET /healthz HTTP/1.1\r\nx: ",
        b"PUT /v1/accounts/a1 HTTP/1.1\r\nhost: x\r\n" + token + b"content-length: 100\r\n\r\n{",
        b"PUT /v1/accounts/a1 HTTP/1.1\r\nhost: x\r\n" + token + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
        b"PUT /v1/accounts/a1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",  # refused, and never finished
    ]

    async def drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"a")
                await asyncio.sleep(0.05)

    async with server(harness, Http(head_s=1, body_s=1)) as address:
        for sent in unfinished:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            if sent.startswith(HEALTH):
                await reader.readuntil(b"{}}")
            dripping = asyncio.ensure_future(drip(writer)) if sent else None
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 20)  # to its end; perhaps with a refusal before
            writer.close()
            if dripping is not None:
                dripping.cancel()
