"""A trace as it is watched: server-sent events, until the viewer goes, or the trace is ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from balances.ledger.reader import STORE_AWAY
from balances.redis.pending import ended
from ocs.api.live import CUT, HEARTBEAT_S, LEAVE, MEDIA_TYPE, WRITE_S
from ocs.api.trace_views import sighting_view
from ocs.backoffice import traces
from ocs.backoffice.backoffice import BackOffice
from ocs.backoffice.errors import BackOfficeError
from ocs.telemetry.log import logger
from ocs.tracing.sighting import Sighting, read_sighting
from ocs.tracing.wish import RENEW_S, TraceWish

QUEUE_MAX: Final = 1_000
"""Sightings that wait for a viewer who reads slowly; what comes beyond them is dropped and counted."""
_json: Final = msgspec.json.Encoder().encode


class TraceStream(Response):
    def __init__(self, backoffice: BackOffice, wish: TraceWish) -> None:
        self._backoffice, self._wish = backoffice, wish
        self._waiting: asyncio.Queue[Sighting] = asyncio.Queue(QUEUE_MAX)
        self._missed = 0
        self.status_code, self.media_type, self.background = 200, MEDIA_TYPE, None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leave: Callable[[], None] = scope.get(LEAVE, _nothing)
        leave()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        listening = asyncio.Event()
        tasks = [
            asyncio.create_task(work)
            for work in (_until_gone(receive), self._listen(listening), self._renew(), self._send(send, listening))
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended(tasks)
        for task in tasks:
            why = None if task.cancelled() else task.exception()
            if isinstance(why, TimeoutError):
                cut: Callable[[], None] = scope.get(CUT, _nothing)
                cut()
                return
            if why is not None:
                logger().error("trace.failed", exc_info=why)
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _listen(self, listening: asyncio.Event) -> None:
        """What the processes publish. Nothing is kept for a viewer that is cut off from the live store."""
        with contextlib.suppress(*STORE_AWAY):
            async for packed in traces.published(self._backoffice, self._wish):
                listening.set()
                if packed is not None:
                    self._take(packed)

    def _take(self, packed: bytes) -> None:
        try:
            seen = read_sighting(packed)
        except msgspec.MsgspecError:
            return  # of another build
        try:
            self._waiting.put_nowait(seen)
        except asyncio.QueueFull:
            self._missed += 1

    async def _renew(self) -> None:
        """Until somebody ends the trace."""
        wish: TraceWish | None = self._wish
        while wish is not None:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(BackOfficeError):  # for as long as the lease lasts
                wish = await traces.renewed(self._backoffice, wish)

    async def _send(self, send: Send, listening: asyncio.Event) -> None:
        """Raises TimeoutError where the viewer reads nothing."""

        async def write(piece: bytes) -> None:
            async with asyncio.timeout(WRITE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        await listening.wait()
        await write(b"retry: 2000\n\nid: 0\nevent: listening\ndata:\n\n")
        number, known = 0, self._backoffice.radius.known.attributes
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    seen = await self._waiting.get()
            except TimeoutError:
                await write(b":\n")
                continue
            number += 1
            data = _json(sighting_view(seen, self._missed, known))
            await write(b"id: %d\nevent: seen\ndata: %b\n\n" % (number, data))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _nothing() -> None:
    """Where the server has no such thing."""
