"""The keeper's copy by itself, for who needs no keeper around it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from balances.redis.primaries import ALL
from ocs.keeper.copy import Copier
from ocs.keeper.counts import KeeperStats
from ocs.keeper.news import News


class LoneCopy:
    """A `Copier` of a `Sync`, or of what stands for one, that has the lease and finds every shard open."""

    def __init__(self, sync: Any, redis: Any = None) -> None:
        self.news = News(redis, lambda: None)
        self.anew: set[int] = set()
        """Shards of which it found that something is missing."""
        self.alarms: list[str] = []
        self.seen: list[Any] = []
        opener: Any = SimpleNamespace(open_shards=ALL, anew=self.anew, doubt=lambda: None)
        reader: Any = SimpleNamespace(see=self.seen.append, read_on=self._read_on)
        leases: Any = SimpleNamespace(has=lambda _name: True)
        self.copier = Copier(sync, leases, self.news, opener, reader, KeeperStats(), alarm=self.alarms.append)

    async def copy(self) -> None:
        """What is there, of all shards."""
        self.news.of(ALL)
        await self.copier.copy()

    async def _read_on(self, _sync: Any) -> None:
        """Nobody waits for what the records cause."""
