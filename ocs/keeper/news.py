"""What this keeper has heard of the shards: which have news, and when it is urgent to look (balances/redis/news.py).

Hints may be lost. So each primary is asked every LOOK_S how many records it was given so far (ocs/keeper/opening.py):
when there are more than last time, every shard of it may have news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from balances import keys
from balances.ledger.reader import STORE_AWAY, Client, Pulse
from balances.redis.clients import listening
from balances.redis.primaries import ALL, Primary

AGAIN_S: Final = 0.5
EVERYWHERE_S: Final = 30.0
"""Every shard is looked at so often, whatever the stores have counted."""


class Ear:
    """What one primary's copy waits for."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        """There may be records that are not copied."""
        self.heard.set()
        self.urgent = asyncio.Event()
        self.pulse: Pulse | None = None
        self.everywhere_s = 0.0


class News:
    """Shards with news, a set for each reader, which removes from it the shards it reads."""

    def __init__(self, redis: Client, lost: Callable[[], object]) -> None:
        """lost: told when the connection to the store is: it may be another one that comes back"""
        self._lost = lost
        self.copy = set(ALL)
        """Shards that may have records that are not copied."""
        self.expire = set(ALL)
        """Shards whose members may be due sooner than was known."""
        self.stirred = True
        """Something was written since this was set to False."""
        self.wishes = asyncio.Event()
        """A person wishes something of a job."""
        self._redis = redis
        self._ears: dict[str, Ear] = {}
        self._loop = asyncio.get_running_loop()

    def ear(self, primary: Primary) -> Ear:
        """Made when it is asked for first."""
        return self._ears.setdefault(primary.name, Ear())

    def leave(self, primary: Primary) -> None:
        """Nobody copies from it any more."""
        self._ears.pop(primary.name, None)

    def felt(self, primary: Primary, pulse: Pulse) -> None:
        """All its shards may have news, unless nothing was written since the last pulse. What is written after it makes
        the next one another."""
        ear, now_s = self.ear(primary), self._loop.time()
        same = pulse == ear.pulse and pulse.appended is not None
        if not same or now_s - ear.everywhere_s >= EVERYWHERE_S:
            ear.pulse, ear.everywhere_s = pulse, now_s
            self.of(primary.shards)

    def of(self, shards: Collection[int]) -> None:
        """These shards have new records."""
        self.copy.update(shards)
        self.expire.update(shards)
        if shards:
            self.stirred = True
            self.wake()

    def wake(self) -> None:
        """Have everybody look whether shards of theirs have news."""
        for ear in self._ears.values():
            ear.heard.set()

    async def listen(self) -> None:
        """Listen until cancelled; reconnects after each failure of the store. What was missed meanwhile is found when
        the store has counted them."""
        while True:
            try:
                async with listening(self._redis) as heard:
                    await heard.subscribe(keys.NEWS, keys.NEWS_NOW, keys.NEWS_JOBS)
                    async for message in heard.listen():
                        if message["type"] == "message":
                            self._hear(message["channel"], message["data"])
            except STORE_AWAY:
                self._lost()
            await asyncio.sleep(AGAIN_S)

    def _hear(self, channel: bytes, shards: bytes) -> None:
        if channel == keys.NEWS_JOBS.encode():
            self.wishes.set()
            return
        self.of(shards)
        if channel == keys.NEWS_NOW.encode():
            for ear in self._ears.values():
                ear.urgent.set()
