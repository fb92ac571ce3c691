"""What the records of the streams say to whom: who is asked to report, and what is counted. Each record is seen once,
before PostgreSQL has it and also while PostgreSQL is away.
"""

from __future__ import annotations

from typing import Final

from balances.ledger.reader import StreamReader
from balances.ledger.record import START, RecordedCall, RecordId
from balances.ledger.sync import calls_of
from ocs.counting import KeeperStats, count
from ocs.enforcement.telling import Telling
from ocs.watch import WatchLog

LOOK_ENTRIES: Final = 16
"""Of a shard in one look while PostgreSQL is away."""


class Reauthorizer:
    """Passes what it sees on to `telling`, which asks the sessions."""

    def __init__(self, reader: StreamReader, telling: Telling, stats: KeeperStats, log: WatchLog) -> None:
        self._reader, self._telling, self._stats, self._log = reader, telling, stats, log
        self._seen: dict[int, RecordId] = {}
        """The last record of each shard that was passed on."""

    def see(self, calls: dict[int, list[RecordedCall]]) -> None:
        """Records by shard, in order; those that were seen before are passed over."""
        for shard, found in calls.items():
            seen = self._seen.get(shard, START)
            for call in found:
                if call.id <= seen:
                    continue
                self._telling.want(call.record)
                count(call.record, self._stats, self._log)
            self._seen[shard] = max(seen, found[-1].id)

    async def read_on(self) -> None:
        """Read the streams from where they were seen last, whoever else reads them."""
        if not self._seen:
            return
        look = await self._reader.after(dict(self._seen), LOOK_ENTRIES)
        if look.server.published_epoch:
            self.see(calls_of(look.entries))

    async def tell(self) -> None:
        """Wait for an account whose sessions there is reason to ask, and begin to ask them."""
        await self._telling.step()
        stats, telling = self._stats, self._telling
        stats.nudged, stats.unknown, stats.dropped = telling.asked, telling.ended, telling.dropped
