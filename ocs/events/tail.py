"""The newest events, read once for all who follow them, and only while somebody does.

A follower keeps a number, and takes what comes after it: out of memory where that is recent, else out of PostgreSQL. So
there is no queue for each, and a slow one costs nothing but his own reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from balances.ledger.event_filter import EventFilter
from balances.ledger.writer import AWAY
from balances.redis.pending import ended
from ocs.events import log
from ocs.events.bell import EventBell
from ocs.events.log import LOOKED_MAX, EventBatch, NumberedEvent
from ocs.telemetry.log import logger

RECENT_MAX: Final = 5_000
"""Events kept in memory ..."""
RECENT_BYTES_MAX: Final = 16 << 20
"""... and octets of their data."""
AGAIN_S: Final = 0.5
"""After a failure of PostgreSQL."""


class EventTail:
    """
    pool:  of PostgreSQL, or what takes its place
    bell:  rings when there are new events
    followers_max:  how many may follow at once
    """

    def __init__(self, pool: Any, bell: EventBell, followers_max: int = 100) -> None:
        self._pool, self._bell, self._followers_max = pool, bell, followers_max
        self.followers = 0
        self.cut = 0
        """Followers that did not read what they were sent."""
        self.closed = False
        self._recent: deque[NumberedEvent] = deque()
        self._bytes = 0
        self._upto: int | None = None
        """Everything up to this number was read; None: nobody follows."""
        self.round = 0
        """Raised when PostgreSQL came back older and counts again what it had counted: who follows has to come anew."""
        self._moved = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.source = ""

    @property
    def full(self) -> bool:
        """There is no room for another follower."""
        return self.followers >= self._followers_max

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Counts one follower."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1
            if not self.followers and self._reading is not None:
                self._reading.cancel()
                self._reading = None
                self._forget()

    async def begin(self) -> int:
        """Read on from now, for one who was counted; returns the number of the last event, before which nothing has to
        be sent to him who asks for nothing older."""
        if not self.source:
            self.source = await log.source(self._pool)
        if self._upto is None:
            self._upto = await log.newest(self._pool)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on(), name="event-tail")
        return self._upto

    async def after(self, number: int, wanted: EventFilter) -> EventBatch:
        """What comes after a number; nothing, at once, where that is the last one."""
        upto = self._upto
        if upto is None or number < upto - len(self._recent):
            return await log.read(self._pool, number, wanted)
        start = len(self._recent) - (upto - number)
        some = list(islice(self._recent, start, start + LOOKED_MAX))
        end = some[-1].seq if some else number
        found = [one for one in some if wanted.takes(one.row.type, one.row.account, one.row.service)]
        return EventBatch(found, end, end < upto, upto)

    async def moved(self, number: int, seconds: float) -> bool:
        """Wait for events after a number; False where none came in so many seconds, or whoever follows has to end."""
        round_ = self.round
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.closed and self.round == round_ and (self._upto is None or self._upto <= number):
                    await self._moved.wait()
        return self.round == round_ and self._upto is not None and self._upto > number

    def last_id(self, number: int) -> str:
        """Id of the event with this number, "" where it is not in memory."""
        if self._upto is None or not 0 < number <= self._upto or number <= self._upto - len(self._recent):
            return ""
        return self._recent[len(self._recent) - 1 - (self._upto - number)].row.id

    async def close(self) -> None:
        """All who follow are to end: they come again, with the id of the last event they saw."""
        self.closed = True
        self._wake()
        if self._reading is not None:
            await ended((self._reading,))

    async def _read_on(self) -> None:
        while True:
            rings = self._bell.rings
            try:
                more = await self._read()
            except AWAY:
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception:  # a fault of ours: those who follow come anew, and it is tried again
                logger().exception("events.tail_failed")
                self._begin_anew()
                await asyncio.sleep(AGAIN_S)
                continue
            if not more:
                await self._bell.wait(rings)

    async def _read(self) -> bool:
        upto = self._upto if self._upto is not None else await log.newest(self._pool)
        batch = await log.read(self._pool, upto, None)
        if batch.last < upto:
            self._begin_anew()
            return False
        self._recent.extend(batch.events)
        self._bytes += sum(len(one.row.data) for one in batch.events)
        while len(self._recent) > RECENT_MAX or self._bytes > RECENT_BYTES_MAX:
            self._bytes -= len(self._recent.popleft().row.data)
        self._upto = batch.upto
        if batch.events:
            self._wake()
        return batch.more

    def _begin_anew(self) -> None:
        self._forget()
        self.round += 1
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _forget(self) -> None:
        self._recent.clear()
        self._bytes, self._upto = 0, None
