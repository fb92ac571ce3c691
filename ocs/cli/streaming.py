"""A request of any length whose answer is read while it is sent, which the standard library's client cannot do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

if TYPE_CHECKING:
    from ssl import SSLContext

WAIT_S: Final = 120
"""For the next piece of the answer: a server says something at each batch."""
LINE_BYTES_MAX: Final = 1 << 20


class OtherAnswer(Exception):
    """With another status than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status, self.body = status, body


async def exchange(
    url: SplitResult, tls: SSLContext | None, token: str, target: str, media_type: str, pieces: Iterable[bytes]
) -> AsyncGenerator[bytes, None]:
    """The lines of the answer as they come; they end early where the connection is cut. Raises OtherAnswer, OSError."""
    reader, writer = await asyncio.open_connection(
        url.hostname,
        url.port or (443 if url.scheme == "https" else 80),
        ssl=tls,
        limit=LINE_BYTES_MAX,
    )
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {media_type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    sending = asyncio.create_task(_send(writer, pieces))
    try:
        status, chunked = await head_of(reader)
        body = body_of(reader, chunked)
        if status != 200:
            raise OtherAnswer(status, b"".join([piece async for piece in body]))
        rest = b""
        async for piece in body:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    why = sending.exception() if not sending.cancelled() else None
    if why is not None and not isinstance(why, ConnectionError):
        raise why  # of the file that is read


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def head_of(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status, and whether the body comes in chunks."""
    try:
        async with asyncio.timeout(WAIT_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        return int(head[0].split(" ", 2)[1]), "transfer-encoding: chunked" in head
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError):
        raise ConnectionError("the connection was cut before an answer") from None
    except TimeoutError:
        raise ConnectionError(f"no answer within {WAIT_S} s") from None


def body_of(reader: asyncio.StreamReader, chunked: bool) -> AsyncIterator[bytes]:
    """Its pieces, until it or the connection ends."""
    return _chunks(reader) if chunked else _rest(reader)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError, ValueError):
        while piece := await _chunk(reader):
            yield piece


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """b"": the last one."""
    async with asyncio.timeout(WAIT_S):
        size = int((await reader.readline()).split(b";")[0], 16)
        return (await reader.readexactly(size + 2))[:-2] if size else b""


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(WAIT_S):
            piece = await reader.read(65_536)
        if not piece:
            return
        yield piece
