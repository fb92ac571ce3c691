"""The one primary that the Sentinels name, with all shards (primaries.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from balances.redis.address import StoreAddress
from balances.redis.clients import ANSWER_S, PRIMARY_CONNECT_S, direct
from balances.redis.primaries import Primary
from balances.redis.sentinels import SentinelClaim, SentinelWatch


class SentinelPrimaries:
    """Knows of none before its first look."""

    def __init__(self, address: StoreAddress) -> None:
        self._address, self._watch = address, SentinelWatch(address)
        self._seen: SentinelClaim | None = None
        self._retired: list[Any] = []
        """Clients of servers that are primary no more: who works with one may end that first."""
        self._all: tuple[Primary, ...] = ()

    def all(self) -> Sequence[Primary]:
        return self._all

    def of(self, shard: int) -> Primary | None:
        return next((primary for primary in self._all if shard in primary.shards), None)

    async def look(self) -> None:
        retired, self._retired = self._retired, []
        for client in retired:
            await client.aclose()
        found = await self._watch.look()
        if found == self._seen:
            return
        self._seen = found
        self._retired += [primary.client for primary in self._all]
        client = direct(
            self._address,
            found.place,
            protocol=2,
            socket_connect_timeout=PRIMARY_CONNECT_S,
            socket_timeout=ANSWER_S,
        )
        self._all = (Primary(str(found.place), client, config_epoch=found.epoch, watched=True),)

    async def close(self) -> None:
        await self._watch.close()
        for client in (*(primary.client for primary in self._all), *self._retired):
            await client.aclose()
        self._all = ()
        self._retired.clear()
