"""Copies the streams to PostgreSQL, and trims them behind what is copied (durability.md rules 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable

from balances.ledger.supervision import Supervision
from balances.ledger.sync import Gap, Sync
from balances.ledger.writer import AWAY
from ocs.counting import KeeperStats
from ocs.keeper.expire import LEASE_MS
from ocs.keeper.opening import Opener
from ocs.keeper.reauthorize import Reauthorizer


class Copier:
    """Several keepers may copy at once: PostgreSQL's cursors decide whose step counts, the lease only saves work."""

    def __init__(
        self,
        sync: Sync,
        supervision: Supervision,
        opener: Opener,
        reauthorizer: Reauthorizer,
        stats: KeeperStats,
        *,
        alarm: Callable[[str], None],
    ) -> None:
        self._sync, self._supervision, self._opener = sync, supervision, opener
        self._reauthorizer, self._stats, self._alarm = reauthorizer, stats, alarm

    async def copy(self) -> None:
        """What is there, step by step."""
        if not await self._supervision.lease("copy", LEASE_MS):
            return
        try:
            while (step := await self._sync.step(self._reauthorizer.see)).written:
                self._stats.copied += step.written
                if not step.full:
                    return
        except Gap as why:
            self._alarm(f"copy: {why}: the shards are opened anew")
            self._opener.anew = True
        except AWAY:  # what sessions are to be told still goes out
            if not self._opener.why:
                await self._reauthorizer.read_on()
            raise

    async def last(self) -> None:
        """All that is there, of a keeper that stops; what it cannot copy is left to the next one."""
        while (await self._sync.step()).written:
            pass

    async def trim(self) -> None:
        if not self._opener.why:
            self._stats.trimmed += await self._sync.trim()
