"""The hot path where Sentinels name the primary: one connection, to who that is now.

They are asked at each connect, again and again, and at once when the fence is lost (READONLY, "not a master"). Another
primary than before: the connection is cut, whatever its server says, and what was on its way is sent again to the new
one once the keeper has opened it, under the new epoch and within its time. While no Sentinel answers, a connection
that is there goes on, and none is made: a primary that was replaced may be back before it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.connection import MEMBER_PATIENCE_S, RedisConnection
from balances.redis.pending import ended
from balances.redis.replicas import NOBODY, ReplicaPromise
from balances.redis.sentinels import POLL_S, SentinelWatch

SHUT_POLL_S: Final = 0.2
"""How often they are asked while the store is not open: a failover may be going on."""


class SentinelLink(RedisConnection):
    """See RedisConnection for what each method does."""

    def __init__(
        self,
        address: StoreAddress,
        *,
        now_ms: Callable[[], int],
        answer_ms_max: int = 800,
        unfenced: bool = False,
        replicas: ReplicaPromise = NOBODY,
    ) -> None:
        self._watch = SentinelWatch(address)
        self._doubted = asyncio.Event()
        self._following: tuple[asyncio.Task[None], ...] = ()
        super().__init__(
            address,
            now_ms=now_ms,
            answer_ms_max=answer_ms_max,
            unfenced=unfenced,
            replicas=replicas,
            find=self._find_primary,
        )
        self._patience_s = MEMBER_PATIENCE_S

    def begin(self) -> None:
        super().begin()
        self._following = (asyncio.create_task(self._follow()),)

    async def stop(self) -> None:
        await ended(self._following)
        await super().stop()
        await self._watch.close()

    async def _find_primary(self) -> ServerPlace:
        return (await self._watch.look()).place

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUT_POLL_S if self.epoch is None else POLL_S):
                    await self._doubted.wait()
            self._doubted.clear()
            with contextlib.suppress(OSError):
                place = (await self._watch.look()).place
                if place != self.place:
                    self.leave(f"the primary is at {place} now")

    def _lose_fence(self, why: str) -> None:
        if self.epoch is not None:
            self._doubted.set()
        super()._lose_fence(why)
