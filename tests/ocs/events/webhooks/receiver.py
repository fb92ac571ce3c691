"""A receiver of webhooks on a real socket, which behaves as it is told: each request is checked with the library that
receivers use, and kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

from standardwebhooks import Webhook as Verifier

from balances.redis.pending import ended

ACCEPT_TURNS: Final = 5
"""Of the loop, from a connection that was accepted to the task that serves it."""


class Got(NamedTuple):
    """A request that came in."""

    id: str
    event: dict[str, Any]
    headers: dict[str, str]
    body: bytes
    path: str


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer, or whatever comes instead."""


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = "".join(
            f"{line}\r\n" for line in (f"HTTP/1.1 {code} Whatever", f"content-length: {len(body)}", *headers)
        )
        writer.write(head.encode() + b"\r\n" + body)
        await writer.drain()

    return answer


OK = status(204)


async def endless(writer: asyncio.StreamWriter) -> None:
    """200, and a body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    """A head that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: and more\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def stalling(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3_600)


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.close()


class Receiver:
    """`answer` is what the next request gets: a function of what came in, or an Answer for all."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        """All that was answered 2xx, in the order of its arrival."""
        self.tried: list[Got] = []
        self.secrets: list[str] = []
        self.answer: Callable[[Got], Answer] = lambda _got: OK
        self.open = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As if it was killed: nothing listens, and connections are cut, those too that were accepted this moment."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        await ended(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")[1:]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                got = self._checked(headers, body, head.split(" ", 2)[1])
                self.tried.append(got)
                answer = self.answer(got)
                if answer in (OK, endless):
                    self.got.append(got)
                await answer(writer)
                if writer.is_closing():
                    return
        except asyncio.CancelledError:
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self._serving.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    def _checked(self, headers: dict[str, str], body: bytes, path: str) -> Got:
        """Every secret that it knows must find its signature."""
        for secret in self.secrets:
            Verifier(secret).verify(body, headers)
        return Got(headers["webhook-id"], json.loads(body), headers, body, path)


@contextlib.asynccontextmanager
async def receiving(*secrets: str) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.secrets += secrets
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
