"""Reads the records of the streams for what they cause: sessions the network is told about, counts and totals. Each
record is seen once, before PostgreSQL has it and also while PostgreSQL is away.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from balances.ledger.reader import StreamReader
from balances.ledger.record import START, RecordedCall, RecordId
from balances.ledger.sync import Sync, calls_of
from ocs.enforcement.enforcer import Enforcer
from ocs.keeper.counts import KeeperStats, count
from ocs.keeper.leases import Leases
from ocs.keeper.news import News
from ocs.keeper.totals import Totals
from ocs.telemetry.standing_alarms import AlarmLog

LOOK_ENTRIES: Final = 16
"""Of a shard in one look."""
URGENT_S: Final = 0.02
"""Between looks that somebody asked for: their hints are gathered meanwhile."""


class Reauthorizer:
    """Passes what it sees on to `enforcer`, which tells the network."""

    def __init__(
        self,
        leases: Leases,
        news: News,
        enforcer: Enforcer,
        totals: Totals,
        stats: KeeperStats,
        log: AlarmLog,
    ) -> None:
        self._leases, self._news = leases, news
        self._enforcer, self._totals, self._stats, self._log = enforcer, totals, stats, log
        self._seen: dict[int, RecordId] = {}
        """The last record of each shard that was passed on."""

    def see(self, calls: dict[int, list[RecordedCall]]) -> None:
        """Take records by shard, in order; records seen before are skipped."""
        for shard, found in calls.items():
            seen = self._seen.get(shard, START)
            for call in found:
                if call.id <= seen:
                    continue
                self._enforcer.want(shard, call)
                self._totals.see(shard, call)
                after = call.session_after
                count(call.record, after.peer if after is not None else "", self._stats, self._log)
            self._seen[shard] = max(seen, found[-1].id)

    async def look_at_once(self, sync: Sync) -> None:
        """Wait for an urgent hint, and read the primary's streams with news without waiting for the copy."""
        urgent = self._news.ear(sync.primary).urgent
        await urgent.wait()
        urgent.clear()
        if self._leases.has("copy"):
            await self._read(sync, self._places(sync, self._news.copy & sync.primary.shards))

    async def read_on(self, sync: Sync) -> None:
        """Read its streams from the last record that was seen."""
        await self._read(sync, {shard: at for shard, at in self._seen.items() if shard in sync.primary.shards})

    def _places(self, sync: Sync, shards: Collection[int]) -> dict[int, RecordId]:
        """Where to read on, by shard. A shard of which nothing is known is left to the copy."""
        copied = sync.cursors.at if sync.cursors is not None else {}
        places = {shard: max(self._seen.get(shard, START), copied.get(shard, START)) for shard in shards}
        return {shard: at for shard, at in places.items() if shard in self._seen or shard in copied}

    async def _read(self, sync: Sync, places: dict[int, RecordId]) -> None:
        reader = StreamReader(sync.primary)
        while places:
            look = await reader.after(places, LOOK_ENTRIES)
            if not look.server.master:
                return
            entries = {shard: found for shard, found in look.entries.items() if look.server.epoch_of(shard)}
            self.see(calls_of(entries))
            full = {shard for shard, found in entries.items() if len(found) == LOOK_ENTRIES}
            places = {shard: self._seen[shard] for shard in full if self._seen.get(shard, START) > places[shard]}
