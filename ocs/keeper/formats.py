"""Brings the stored format up to the newest that all hosts read: announced first, then written, never skipped
(docs/operations/upgrade.md).

A host that does not read the one that is announced may not join any more, and its processes make no call from their
next check of the fence on. What did not hear it, because it hung, finds the functions gone that it would call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from balances.ledger.formats import OURS, StoredFormat, publish, stored_format
from balances.redis.libraries import drop_all_but, named_lately
from balances.redis.primaries import Primary
from ocs.stores.hosts import HostRow, listed
from ocs.telemetry.standing_alarms import AlarmLog

ANNOUNCED_S: Final = 5
"""Between announcing a format and writing it: ten checks of the fence."""

_HEARD: Final = "next_format = $1 AND next_at < now() - $2 * interval '1 second'"


def holding_back(hosts: Collection[HostRow], libraries: Collection[str], wanted: int) -> list[str]:
    """Why this format may not be written yet, one sentence for each host or process that does not read it.

    libraries: those that somebody said to use lately"""
    there = [host for host in hosts if host.alive]
    found = [
        f"host {host.name} reads formats {host.reads.oldest} to {host.reads.newest}"
        for host in there
        if not host.reads.has(wanted)
    ]
    known = {name for host in hosts for name in host.libraries}
    found += [f"library {name} is used by a process of no registered host" for name in sorted({*libraries} - known)]
    return found if there else ["no host is registered"]


class FormatStep:
    """
    primaries:  the servers that have the functions
    after_s:    how long nothing has to hold the next format back before it is announced
    """

    def __init__(
        self,
        redis: Any,
        pool: Any,
        log: AlarmLog,
        *,
        primaries: Callable[[], Iterable[Primary]],
        now_ms: Callable[[], int],
        after_s: int = 3_600,
    ) -> None:
        self._primaries = primaries
        self._redis, self._pool, self._log = redis, pool, log
        self._now_ms, self._after_ms = now_ms, after_s * 1_000
        self._free_since_ms = 0
        """Since when nothing holds it back; 0: something does."""

    async def publish(self) -> StoredFormat:
        """Say in the live store what PostgreSQL says."""
        stored = await stored_format(self._pool)
        await publish(self._redis, stored)
        return stored

    async def step(self) -> None:
        """Look once, and go on where it may."""
        stored = await self.publish()
        if stored.announced != stored.written:
            await self._write(stored)
        elif OURS.newest > stored.written:
            await self._announce(stored.written + 1)

    async def _announce(self, wanted: int) -> None:
        lately = await named_lately(self._redis)
        now_ms = self._now_ms()
        if holding_back(await listed(self._pool), lately, wanted):
            self._free_since_ms = 0
            return
        self._free_since_ms = self._free_since_ms or now_ms
        if now_ms - self._free_since_ms < self._after_ms:
            return
        async with self._pool.acquire() as pg, pg.transaction():
            # Hosts that join wait here, and find it announced; those that have joined are looked at once more.
            row = await pg.fetchrow("SELECT format, next_format FROM store FOR UPDATE")
            if row["format"] != wanted - 1 or row["next_format"] is not None:
                return
            if holding_back(await listed(pg), lately, wanted):
                return
            await pg.execute("UPDATE store SET next_format = $1, next_at = now()", wanted)
        self._log.info("format.announced", format=wanted)
        await self.publish()

    async def _write(self, stored: StoredFormat) -> None:
        # Nothing is locked while the primaries are asked. Who joins meanwhile reads what is announced; should its
        # library go, it loads it again.
        if not await self._pool.fetchval(f"SELECT true FROM store WHERE {_HEARD}", stored.announced, ANNOUNCED_S):
            return
        hosts = await listed(self._pool)
        kept = {name for host in hosts if host.reads.has(stored.announced) for name in host.libraries}
        dropped = await drop_all_but(self._primaries(), kept)
        done = await self._pool.execute(
            f"UPDATE store SET format = next_format, next_format = NULL, format_at = now() WHERE {_HEARD}",
            stored.announced,
            ANNOUNCED_S,
        )
        if done != "UPDATE 1":  # another keeper was faster
            return
        self._free_since_ms = 0
        self._log.info("format.written", format=stored.announced, libraries_dropped=dropped)
        await self.publish()
