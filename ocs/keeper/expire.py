"""Ends holds, sessions and buckets whose time has come, a bounded number at a time (durability.md, "Around it")."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Final, Protocol

from balances.ledger.supervision import Due, Supervision
from balances.redis.pending import Pending
from balances.redis.primaries import Primaries, Primary, by_primary
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from ocs.keeper.counts import KeeperStats
from ocs.keeper.leases import Leases
from ocs.keeper.news import News
from ocs.keeper.rounds import LATER, Rounds

SWEEP_SHARD_MAX: Final = 50
SWEEP_MAX: Final = 4_000
"""Members looked at in one sweep; more than that at once means that a clock jumped, or that everybody went silent."""

GROUPS: Final = 8
"""Leases of the sweep: each covers every eighth shard."""


def lease_of(group: int) -> str:
    """Name of the lease for this shard."""
    return f"sweep:{group}"


class SweepStore(Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    def expire(self, expiry: Expire) -> Pending[Reply]: ...


class Expirer:
    """Knows when the first member of each shard is due, so that a shard where nothing is due is not read until
    something is written there."""

    def __init__(
        self,
        store: SweepStore,
        supervision: Supervision,
        primaries: Primaries,
        leases: Leases,
        news: News,
        rounds: Rounds,
        stats: KeeperStats,
        *,
        now_ms: Callable[[], int],
        open_shards: Callable[[], Collection[int]],
    ) -> None:
        self._store, self._supervision, self._primaries = store, supervision, primaries
        self._open_shards = open_shards
        self._leases, self._news = leases, news
        self._rounds, self._stats, self._now_ms = rounds, stats, now_ms
        self._soonest: dict[int, int] = {}

    async def expire(self) -> None:
        """End what is due, a bounded number. Sessions whose client could not report while we were away get that much
        longer: for two Validity-Times after an opening only what is overdue by more than the absence is ended."""
        open_ = self._open_shards()
        if not open_:
            return
        self._stats.sweep_lag_ms = 0
        asked = {*self._news.expire, *self._soonest} & set(open_)
        swept = [self._expire(primary, shards) for primary, shards in by_primary(self._primaries, asked)]
        away: list[BaseException] = []
        for what in await asyncio.gather(*swept, return_exceptions=True):  # one that is away keeps no other's money
            if isinstance(what, BaseException):
                away.append(what)
        if away:
            raise away[0]

    async def _expire(self, primary: Primary, shards: list[int]) -> None:
        """The same for these shards of one primary."""
        await self._look(primary, [shard for shard in shards if shard in self._news.expire])
        due_now = [shard for shard in shards if self._soonest.get(shard, math.inf) <= self._now_ms()]
        groups = {shard % GROUPS for shard in due_now}
        if not groups:
            return
        now_ms = min(self._now_ms(), await self._supervision.time_ms(primary))
        extended_ms = await self._supervision.alive(primary, now_ms)
        looked_at = 0
        for group in sorted(groups):
            if not self._leases.has(lease_of(group)):
                continue
            mine = [shard for shard in due_now if shard % GROUPS == group]
            due = await self._supervision.due(primary, mine, now_ms, SWEEP_SHARD_MAX)
            due = [one for one in due if not one.session or one.at_ms <= now_ms - extended_ms]
            looked_at += len(due)
            self._stats.sweep_lag_ms = max((self._stats.sweep_lag_ms, *(now_ms - one.at_ms for one in due)))
            await self._end(due, now_ms, extended_ms)
            self._news.expire.update(mine)
            if looked_at >= SWEEP_MAX:
                self._rounds.remark(f"sweep: more than {SWEEP_MAX} members were due at once")
                break

    async def _look(self, primary: Primary, shards: list[int]) -> None:
        """Read when the first member is due, of shards where that may have changed."""
        if not shards:
            return
        self._news.expire.difference_update(shards)
        try:
            found = await self._supervision.soonest(primary, shards)
        except BaseException:
            self._news.expire.update(shards)
            raise
        for shard in shards:
            self._soonest.pop(shard, None)
        self._soonest.update(found)

    async def _end(self, due: list[Due], now_ms: int, extended_ms: int) -> None:
        for start in range(0, len(due), 200):
            some, gone = due[start : start + 200], list[tuple[str, str]]()
            swept = [self._end_one(one, now_ms, extended_ms, gone) for one in some]
            ended = await asyncio.gather(*swept, return_exceptions=True)
            if gone:
                await self._supervision.forget_where(gone)
            for one, what in zip(some, ended, strict=True):
                if isinstance(what, LATER):
                    raise what
                if isinstance(what, Exception):  # one that cannot be swept must not keep the others' money
                    self._rounds.failed("sweep", what)
                    await self._supervision.put_off(one, now_ms)

    async def _end_one(self, one: Due, now_ms: int, extended_ms: int, gone: list[tuple[str, str]]) -> None:
        """gone: gets the session, with its account, where it may be there no more"""
        at_ms = now_ms - extended_ms if one.session else now_ms
        reply = await self._store.expire(Expire(one.account, one.session, at_ms)).wait()
        if reply.status == "ok":
            self._stats.swept += 1
        if reply.status in ("ok", "gone", "absent") and one.session:
            gone.append((one.account, one.session))
