"""Copies the streams to PostgreSQL, and trims the part that is copied (durability.md rules 6 and 7).

It reads the shards that may have new records (ocs/keeper/news.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from balances.ledger.sync import Gap, NotOpen, Sync
from balances.ledger.writer import AWAY
from ocs.keeper.counts import KeeperStats
from ocs.keeper.leases import Leases
from ocs.keeper.news import News
from ocs.keeper.opening import Opener
from ocs.keeper.reauthorize import Reauthorizer

PACE_S: Final = 0.225
"""Between steps: half of what a step costs does not depend on how many records it copies."""
LANES: Final = 4
"""Of a backlog so many batches are under way at once, each of other shards: while PostgreSQL writes some, the next one
is read, decoded and encoded. With two both sides still waited for each other a third of the time."""
CURSORS_S: Final = 5.0
"""How long cursors are believed that nothing has contradicted: a person may have let a stopped shard go on."""


class Copier:
    """Copies from one primary. Several keepers may copy at once: PostgreSQL's cursors decide whose step counts, and the
    lease only saves work."""

    def __init__(
        self,
        sync: Sync,
        leases: Leases,
        news: News,
        opener: Opener,
        reauthorizer: Reauthorizer,
        stats: KeeperStats,
        *,
        alarm: Callable[[str], None],
    ) -> None:
        self._sync, self._leases, self._news, self._opener = sync, leases, news, opener
        self._ear = news.ear(sync.primary)
        self._reauthorizer, self._stats, self._alarm = reauthorizer, stats, alarm
        self._loop = asyncio.get_running_loop()
        self._read_s = -CURSORS_S
        self._untrimmed = True
        """Something was copied since the streams were trimmed."""

    async def copy(self) -> None:
        """Wait for news, then copy what is there, step by step."""
        await self._ear.heard.wait()
        self._ear.heard.clear()
        if not self._leases.has("copy"):
            return
        try:
            more = await self._step(self._taken())
            if more:
                await self._catch_up(more)
        except Gap as why:
            self._alarm(f"copy: {why}: it is opened anew")
            self._opener.anew.add(why.shard)
            self._opener.doubt()
        except NotOpen:
            self._opener.doubt()
            raise
        except AWAY:  # what sessions are to be told still goes out
            if self._opener.open_shards:
                await self._reauthorizer.read_on(self._sync)
            raise

    def _taken(self, lane: int | None = None) -> set[int]:
        """Shards with news, all or those of a lane, for who copies them now."""
        shards = self._news.copy & self._sync.primary.shards
        if lane is not None:
            shards = _of_lane(lane, shards)
        self._news.copy -= shards
        return shards

    async def _catch_up(self, shards: set[int]) -> None:
        """Copy all that these shards have, in lanes. One that fails ends the others after their batch."""
        failed = asyncio.Event()
        lanes = [self._lane(lane, _of_lane(lane, shards), failed) for lane in range(LANES)]
        for end in await asyncio.gather(*lanes, return_exceptions=True):
            if end is not None:
                raise end

    async def _lane(self, lane: int, shards: set[int], failed: asyncio.Event) -> None:
        try:
            while shards and not failed.is_set():
                more = await self._step(shards)
                shards = more and more | self._taken(lane)  # one that has much keeps no other waiting
        except BaseException:
            failed.set()
            raise
        self._news.of(shards)

    async def _step(self, shards: set[int]) -> set[int]:
        """Copy one batch of these shards; returns those that may have more. Where that fails they all may."""
        now_s = self._loop.time()
        if now_s - self._read_s > CURSORS_S:
            self._sync.forget()
            self._read_s = now_s
        try:
            step = await self._sync.step(self._reauthorizer.see, shards)
        except BaseException:
            self._news.of(shards)
            raise
        if step.shut:  # looked at again when they are open
            self._opener.doubt()
        self._stats.copied += step.written
        if step.written:
            self._untrimmed = True
            self._news.expire.update(step.calls)
            self._news.stirred = True
        return step.more if step.written else set()

    async def last(self) -> None:
        """Copy everything before this keeper stops; what cannot be copied now is left to the next keeper."""
        while (await self._sync.step()).written:
            pass

    async def trim(self) -> None:
        if not (self._opener.open_shards and self._untrimmed):
            return
        self._untrimmed = False
        try:
            self._stats.trimmed += await self._sync.trim()
        except BaseException:
            self._untrimmed = True
            raise


def _of_lane(lane: int, shards: set[int]) -> set[int]:
    return {shard for shard in shards if shard % LANES == lane}
