"""Copies the streams to PostgreSQL, and trims them behind what is copied (durability.md rules 6 and 7).

It looks at the shards it was told have news, and with them at those it has not looked at for longest, so that every
shard is looked at within LOOK_S whatever was told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from balances import keys
from balances.ledger.sync import Gap, NotOpen, Sync
from balances.ledger.writer import AWAY
from ocs.keeper.counts import KeeperStats
from ocs.keeper.leases import Leases
from ocs.keeper.news import News
from ocs.keeper.opening import Opener
from ocs.keeper.reauthorize import Reauthorizer

PACE_S: Final = 0.225
"""Between steps: half of what a step costs does not depend on how many records it copies."""
LOOK_S: Final = 2.0
"""Every shard is looked at so often, news or none."""
BESIDE: Final = 40
"""Shards in a step beside those with news: all get their turn within LOOK_S."""
CURSORS_S: Final = 5.0
"""How long cursors are believed that nothing has contradicted: a person may have let a stopped shard go on."""


class Copier:
    """Several keepers may copy at once: PostgreSQL's cursors decide whose step counts, the lease only saves work."""

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
        look_s: float = LOOK_S,
    ) -> None:
        self._sync, self._leases, self._news, self._opener = sync, leases, news, opener
        self._reauthorizer, self._stats, self._alarm = reauthorizer, stats, alarm
        self._look_s = look_s
        self._loop = asyncio.get_running_loop()
        self._looked_s = dict.fromkeys(range(keys.SHARDS), -look_s)
        """When each shard was looked at, the one that was longest ago first."""
        self._read_s = -CURSORS_S
        self._untrimmed = True
        """Something was copied since the streams were trimmed."""

    async def copy(self) -> None:
        """Wait for news, or until some shard was not looked at for long; then copy what is there, step by step."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_s - PACE_S):
                await self._news.heard.wait()
        self._news.heard.clear()
        if not self._leases.has("copy"):
            return
        shards = self._due()
        self._news.copy -= shards
        try:
            while shards:
                shards = await self._step(shards)
        except Gap as why:
            self._alarm(f"copy: {why}: the shards are opened anew")
            self._opener.anew = True
            self._opener.doubt()
        except NotOpen:
            self._opener.doubt()
            raise
        except AWAY:  # what sessions are to be told still goes out
            if not self._opener.why:
                await self._reauthorizer.read_on()
            raise
        finally:
            self._news.of(shards)  # what could not be copied

    def _due(self) -> set[int]:
        """Those with news, and those that were not looked at for long."""
        now_s, shards = self._loop.time(), set(self._news.copy)
        oldest = next(iter(self._looked_s.values()))
        if now_s - oldest + PACE_S > self._look_s:  # all that would be late by the next time but some
            shards.update(one for one, at_s in self._looked_s.items() if now_s - at_s > self._look_s / 2)
        elif shards:
            shards.update(list(self._looked_s)[:BESIDE])
        return shards

    async def _step(self, shards: set[int]) -> set[int]:
        """Returns those that may have more."""
        now_s = self._loop.time()
        if now_s - self._read_s > CURSORS_S:
            self._sync.forget()
            self._read_s = now_s
        step = await self._sync.step(self._reauthorizer.see, shards)
        for shard in shards:
            del self._looked_s[shard]
            self._looked_s[shard] = now_s
        self._stats.copied += step.written
        if step.written:
            self._untrimmed = True
            self._news.expire.update(step.calls)
            self._news.stirred = True
        return step.more if step.written else set()

    async def last(self) -> None:
        """All that is there, of a keeper that stops; what it cannot copy is left to the next one."""
        while (await self._sync.step()).written:
            pass

    async def trim(self) -> None:
        if self._opener.why or not self._untrimmed:
            return
        self._untrimmed = False
        try:
            self._stats.trimmed += await self._sync.trim()
        except BaseException:
            self._untrimmed = True
            raise
