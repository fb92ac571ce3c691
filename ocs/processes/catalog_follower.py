"""The published tariffs in a process, and what else is read with each check of its fence."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from balances import keys
from balances.redis.link import StoreLink
from ocs.charging.handle import ChargingContext
from ocs.master.catalog import FIELDS, Compiled, unpack_catalog
from ocs.net.admission import Admission
from ocs.telemetry.log import logger

if TYPE_CHECKING:
    from redis.asyncio import Redis

NEWEST_S: Final = 1.0
"""How long a caller that wants the newest tariffs waits for Redis to name their version."""
CATALOG_S: Final = 30
"""Longest wait for the tariffs, with tables of many megabytes."""
HIGH_WATER_PERCENT: Final = 90
"""Of the live store's memory: beyond it nothing new is begun, and what is left is for settlement (charging.md 11)."""


class CatalogFollower:
    """Reads the version of the published tariffs with each check of the fence, and loads them when it is new."""

    def __init__(
        self,
        link: StoreLink,
        redis: Redis,
        context: ChargingContext,
        trouble: tuple[type[Exception], ...],
        admission: Admission | None = None,
        in_force: Callable[[int], None] = lambda _version: None,
    ) -> None:
        """
        trouble:    what is raised while Redis is away
        admission:  is told when the memory of the store is nearly used up
        in_force:   is told each version from which on this process prices
        """
        self.why = "tariffs are not loaded yet"
        self._in_force = in_force
        self._redis: Any = redis
        self._trouble = trouble
        self._context = context
        self._version: bytes | None = None
        self._compiled: Mapping[tuple[str, int], Compiled] = {}
        self._loading: asyncio.Task[None] | None = None
        link.ask_too((("HGET", keys.CATALOG, "version"), ("EXISTS", keys.PROJECTED)), self._checked)
        if admission is not None:
            link.ask_each(("INFO", "memory"), partial(_tell_fullness, admission))

    def _checked(self, replies: list[Any]) -> None:
        version, projected = replies
        if version is None and projected:
            self.why = ""  # master data is complete, and there is no tariff in it
        elif version is None:
            self.why = "master data is not in Redis yet"
        elif version != self._version and self._loading is None:
            # One at a time. What is published meanwhile is seen by the next check, and wins.
            self._loading = asyncio.ensure_future(self._load())

    async def newest(self) -> None:
        """Load what is published by now, for callers that prefer waiting to an older price."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
        try:
            async with asyncio.timeout(NEWEST_S):
                version = await self._redis.hget(keys.CATALOG, "version")
        except self._trouble:
            return  # the call to the store that follows reports it
        if version != self._version:
            self._loading = self._loading or asyncio.ensure_future(self._load())
            await asyncio.wait([self._loading])

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(CATALOG_S):
                version, *packed = await self._redis.hmget(keys.CATALOG, "version", *FIELDS)
            if version is not None:
                self._version = version
                await self._take(int(version), packed)
        except self._trouble:
            pass  # Redis is away: the next check tries again
        except Exception as why:  # of a newer version of ours: the old tariffs serve on
            logger().error("tariffs.not_understood", why=str(why))
            self.why = self.why and f"tariffs cannot be read: {why}"
        finally:
            self._loading = None

    async def _take(self, version: int, packed: list[bytes | None]) -> None:
        # A table of 200,000 prefixes takes a second to compile, in which this loop charges on: without stops to collect
        # garbage, of which there is none among so many new objects, nor later among what stays.
        loop = asyncio.get_running_loop()
        gc.disable()
        try:
            unpacked = await loop.run_in_executor(None, unpack_catalog, version, packed, self._compiled)
        finally:
            gc.enable()
        self._context.catalog, self._compiled = unpacked.catalog, unpacked.compiled
        gc.freeze()
        self.why = ""
        self._in_force(version)
        for trouble in unpacked.troubles:
            logger().error("tariff.not_understood", version=version, why=trouble)
        logger().info("tariffs.loaded", version=version)


def _tell_fullness(admission: Admission, replies: list[Any]) -> None:
    """replies: of each primary. One that is full is enough: nobody knows here which one a request will need."""
    admission.store_is_full = any(used_percent(reply) >= HIGH_WATER_PERCENT for reply in replies)


def used_percent(memory: bytes) -> int:
    """How full the live store is, in percent, from its INFO of memory; 0 where memory is not bounded."""
    facts = dict(line.split(b":", 1) for line in memory.split(b"\r\n") if b":" in line)
    most = int(facts.get(b"maxmemory", 0))
    return int(facts[b"used_memory"]) * 100 // most if most else 0
