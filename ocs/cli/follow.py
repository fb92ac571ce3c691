"""Server-sent events as they come, and again after the last one where the connection is cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

from ocs.cli.streaming import LINE_BYTES_MAX, OtherAnswer, body_of, head_of

if TYPE_CHECKING:
    from ssl import SSLContext

AGAIN_S: Final = 2.0
"""Before it is connected again."""


async def follow(
    url: SplitResult, tls: SSLContext | None, token: str, target: str, last_id: str
) -> AsyncGenerator[str, None]:
    """The data of each event. Raises OtherAnswer, and OSError where there was no connection yet."""
    began = False
    while True:
        try:
            async with contextlib.aclosing(_once(url, tls, token, target, last_id)) as events:
                async for id_, data in events:
                    began, last_id = True, id_
                    if data:
                        yield data
        except OSError:
            if not began:
                raise
        except OtherAnswer as other:
            if not began or other.status != 503:
                raise
        await asyncio.sleep(AGAIN_S)


async def _once(
    url: SplitResult, tls: SSLContext | None, token: str, target: str, last_id: str
) -> AsyncGenerator[tuple[str, str], None]:
    """(id, data; "" for a position) until the connection ends."""
    reader, writer = await asyncio.open_connection(
        url.hostname,
        url.port or (443 if url.scheme == "https" else 80),
        ssl=tls,
        limit=LINE_BYTES_MAX,
    )
    try:
        head = (
            f"GET {target} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\nAuthorization: Bearer {token}\r\n"
            "Accept: text/event-stream\r\nConnection: close\r\n"
        )
        head += f"Last-Event-ID: {last_id}\r\n\r\n" if last_id else "\r\n"
        writer.write(head.encode())
        status, chunked = await head_of(reader)
        body = body_of(reader, chunked)
        if status != 200:
            raise OtherAnswer(status, b"".join([piece async for piece in body]))
        fields: dict[str, str] = {}
        rest = b""
        async for piece in body:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                name, _, value = line.decode(errors="replace").partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif not line and "id" in fields and "data" in fields:
                    yield fields["id"], fields["data"]
                if not line:
                    fields = {}
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
