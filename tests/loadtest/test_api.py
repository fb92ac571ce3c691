"""Connections of the simulator to the API."""

from __future__ import annotations

import asyncio

import pytest

from loadtest import api
from loadtest.api import Api


@pytest.mark.parametrize(("idle_s_max", "connections"), [(60.0, 1), (0.0, 2)], ids=["fresh", "idle for too long"])
async def test_a_connection_is_kept_while_the_server_keeps_it(
    monkeypatch: pytest.MonkeyPatch, idle_s_max: float, connections: int
) -> None:
    monkeypatch.setattr(api, "IDLE_S_MAX", idle_s_max)
    made: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.add(asyncio.current_task())
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        async with Api(f"http://{host}:{port}", "t", connections=1) as client:
            for _ in range(2):
                await client.get("v1", "status")
                await asyncio.sleep(0.001)  # the clock goes on
        await asyncio.gather(*(one for one in made if one))
    assert len(made) == connections
