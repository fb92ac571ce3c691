"""Server-sent events: a response without end, to a client that may read slowly, or go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from balances.ledger.event_filter import EventFilter
from balances.ledger.writer import AWAY
from balances.redis.pending import ended
from ocs.events.following import RENEWED_S
from ocs.events.log import NumberedEvent
from ocs.events.tail import EventTail
from ocs.telemetry.log import logger

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
"""A comment goes out where nothing else did for so long: so both sides find a connection that is dead."""
WRITE_S: Final = 30.0
"""A client that does not read what it is sent for so long is cut; it comes again with the last id it saw."""
POSITION_S: Final = 600.0
"""Where nothing passed its filter for so long, a follower is told the id of the event it could go on after."""
PIECE_BYTES_MAX: Final = 65_536
AGAIN_S: Final = 0.5
CUT: Final = "ocs.cut"
"""In the scope: ends the connection at once, with what is not sent yet."""
LEAVE: Final = "ocs.leave"
"""In the scope: from now on this request is not one of those whose number is bounded."""


class _ClientSilent(Exception):
    """It does not read what it is sent."""


class EventStream(Response):
    """Events that pass a filter, after a number, until the client goes, is cut, or the server stops."""

    def __init__(
        self,
        tail: EventTail,
        wanted: EventFilter,
        first: int | None,
        renew: Callable[[], Awaitable[object]],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        write_s: float = WRITE_S,
    ) -> None:
        """first: the number after which to begin; None: now. renew: asks again for types that are written on demand"""
        self._tail, self._wanted, self._first, self._renew = tail, wanted, first, renew
        self._heartbeat_s, self._write_s = heartbeat_s, write_s
        self.status_code, self.media_type, self.background = 200, MEDIA_TYPE, None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.get(LEAVE, _nothing)()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._tail.following():
            gone = asyncio.create_task(_until_gone(receive))
            sending = asyncio.create_task(self._send(send))
            try:
                await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    return
                sending.result()
            except _ClientSilent:
                self._tail.cut += 1
                logger().info("events.cut", why=f"the client read nothing for {self._write_s:g} s")
                scope.get(CUT, _nothing)()
                return
            except AWAY as why:  # nothing was read yet: it comes again
                logger().info("events.not_begun", why=str(why) or type(why).__name__)
            finally:
                await ended((gone, sending))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        tail, loop = self._tail, asyncio.get_running_loop()
        round_, wrote_s = tail.round, loop.time()

        async def write(piece: bytes) -> None:
            nonlocal wrote_s
            try:
                async with asyncio.timeout(self._write_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                raise _ClientSilent from None
            wrote_s = loop.time()

        told_s = renewed_s = wrote_s
        newest = await tail.begin()
        number = newest if self._first is None else self._first
        await write(b"retry: 2000\n\n")
        while not tail.closed and tail.round == round_:
            try:
                batch = await tail.after(number, self._wanted)
                if loop.time() - renewed_s >= RENEWED_S:
                    await self._renew()
                    renewed_s = loop.time()
            except AWAY:
                await asyncio.sleep(AGAIN_S)
                continue
            for piece in pieces(batch.events, tail.source):
                await write(piece)
                told_s = wrote_s
            number = batch.upto
            if not batch.more:
                await tail.moved(number, self._heartbeat_s)
            if loop.time() - told_s >= POSITION_S and (last_id := tail.last_id(number)):
                await write(f"id: {last_id}\nevent: position\ndata:\n\n".encode())
                told_s = wrote_s
            elif loop.time() - wrote_s >= self._heartbeat_s:
                await write(b":\n")


def pieces(events: Sequence[NumberedEvent], source: str) -> Iterator[bytes]:
    """As they go over the wire, some in each piece."""
    piece = b""
    for one in events:
        data = one.event(source).json()  # JSON of ours has no line break
        piece += b"id: %b\nevent: %b\ndata: %b\n\n" % (one.row.id.encode(), one.row.type.encode(), data)
        if len(piece) >= PIECE_BYTES_MAX:
            yield piece
            piece = b""
    if piece:
        yield piece


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _nothing() -> None:
    """Where the server has no such thing."""
