"""Wakes who waits for something in PostgreSQL, by LISTEN. A wake-up may be lost (a connection that breaks, a pooler
that cannot do it): whoever waits looks again after a while, whatever he heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from balances.ledger.events import CHANNEL, OUTBOX_CHANNEL
from balances.ledger.writer import AWAY
from balances.redis.pending import ended

AGAIN_S: Final = 1.0
"""Between attempts to listen."""
UNHEARD_S: Final = 2.0
"""So long after the last look it is looked again where nothing can be heard ..."""
HEARD_S: Final = 10.0
"""... and where it can."""


class EventBell:
    """Rings when events or the outbox got something new. `rings` counts; wait with the count from before the look."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.rings = 0
        self._hears = False
        self._rung = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[EventBell]:
        """Listen for as long as the block lasts."""
        task = asyncio.create_task(self.listen(), name="event-bell")
        try:
            yield self
        finally:
            await ended((task,))

    async def listen(self) -> None:
        """Listen until cancelled, over one connection, a new one after each failure."""
        while True:
            with contextlib.suppress(*AWAY):
                async with self._pool.acquire() as pg:
                    await self._hear(pg)
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, pg: Any) -> None:
        lost = asyncio.Event()
        heard = lambda *_: self.ring()  # noqa: E731
        gone = lambda *_: lost.set()  # noqa: E731
        pg.add_termination_listener(gone)
        try:
            for channel in (CHANNEL, OUTBOX_CHANNEL):
                await pg.add_listener(channel, heard)
            self._hears = True
            self.ring()  # what came before is looked for
            await lost.wait()
        finally:
            self._hears = False
            pg.remove_termination_listener(gone)
            for channel in (CHANNEL, OUTBOX_CHANNEL):
                with contextlib.suppress(*AWAY):
                    await pg.remove_listener(channel, heard)

    def ring(self) -> None:
        """Wake all who wait."""
        self.rings += 1
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, rings: int) -> None:
        """Until it has rung more often than `rings`, or for a while."""
        if self.rings == rings:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARD_S if self._hears else UNHEARD_S):
                    await self._rung.wait()
