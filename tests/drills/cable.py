"""A TCP connection between two hosts, for a test to cut: what listens at one port is reached through another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from balances.redis.pending import ended


class Cable:
    def __init__(self, port: int) -> None:
        """port: of who is reached through it"""
        self.port = 0
        """Where it begins."""
        self._to = port
        self._is_cut = False
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: dict[int, tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await ended(self._pipes)

    def cut(self, but: Collection[int] = ()) -> None:
        """All connections, and those to come, but of who connected from these ports."""
        self._is_cut = True
        for port in self._writers.keys() - set(but):
            for writer in self._writers.pop(port):
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers[writer.get_extra_info("peername")[1]] = writer, there[1]
        for pair in ((reader, there[1]), (there[0], writer)):
            self._pipes.append(asyncio.ensure_future(pipe(*pair)))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes, until one end is gone."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
