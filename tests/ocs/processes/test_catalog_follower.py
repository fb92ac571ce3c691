"""Tariffs on their way into a worker: compiled beside the loop, taken over when done."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from balances import keys
from ocs.master.catalog import unpack_catalog
from ocs.net.admission import Admission
from ocs.processes.catalog_follower import CatalogFollower
from ocs.processes.stores import TROUBLE
from tariffs.catalog import Catalog
from tests.ocs.api_harness import FLAT, ApiHarness, api_harness
from tests.servers import Servers


class Worker:
    """What of one the follower works on, and its check whenever a test wants it."""

    def __init__(self, harness: ApiHarness) -> None:
        self.redis = harness.redis
        self.asked: list[tuple[Any, Any]] = []
        self.link = cast(
            Any,
            SimpleNamespace(
                ask_too=lambda commands, heard: self.asked.append((commands, heard)),
                ask_each=lambda command, heard: self.asked.append(((command,), heard)),
            ),
        )
        self.context = cast(Any, SimpleNamespace(catalog=Catalog()))
        self.admission = Admission(100, 100)
        self.memory = b""
        self.follower = CatalogFollower(self.link, harness.redis, self.context, TROUBLE, self.admission)

    async def check(self) -> None:
        for commands, heard in self.asked:
            heard([self.memory if "INFO" in words else await self.redis.execute_command(*words) for words in commands])

    async def settled(self) -> None:
        await self.check()
        while self.follower._loading is not None:
            await asyncio.sleep(0.001)

    @property
    def versions(self) -> dict[str, int]:
        return {name: each[0].version for name, each in self.context.catalog.tariffs.items()}


async def test_it_follows_what_is_published(servers: Servers) -> None:
    async with api_harness(servers) as harness:
        worker = Worker(harness)
        await worker.settled()
        assert (worker.follower.why, worker.versions) == ("", {})  # there is no tariff, and that is known
        await harness.tariff()
        await worker.settled()
        first = worker.context.catalog
        assert worker.versions == {"flat": 1}
        await worker.settled()
        assert worker.context.catalog is first
        await harness.call(
            "PUT", "/v1/exchange-rates/2026-03-01", {"rates": [{"of": "USD", "into": "EUR", "rate": "0.9"}]}
        )
        await worker.settled()
        assert worker.context.catalog.tariffs["flat"] == first.tariffs["flat"]  # the same, not compiled again
        assert worker.context.catalog.exchanges.at("USD", "EUR", 1_800_000_000_000) is not None


async def test_a_store_that_is_nearly_full_is_told_to_admission(servers: Servers) -> None:
    """`Stream high-water: new sessions and events refused, settlement continues` (charging.md 11)."""
    async with api_harness(servers) as harness:
        worker = Worker(harness)
        for used, most, full in ((899, 1_000, False), (900, 1_000, True), (899, 1_000, False), (10**12, 0, False)):
            worker.memory = b"# Memory\r\nused_memory:%d\r\nmaxmemory:%d\r\n" % (used, most)
            await worker.settled()
            assert worker.admission.store_is_full is full


async def test_the_loop_goes_on_and_the_newest_wins(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return unpack_catalog(*arguments)

    monkeypatch.setattr("ocs.processes.catalog_follower.unpack_catalog", slow)
    async with api_harness(servers) as harness:
        worker = Worker(harness)
        await harness.tariff()
        await worker.check()
        await asyncio.sleep(0.05)
        await harness.tariff(FLAT.replace("0.01", "0.02"))
        await worker.check()
        assert worker.versions == {}
        await worker.settled()
        assert worker.versions == {"flat": 1}
        await worker.settled()
        assert worker.versions == {"flat": 2}


async def test_what_it_cannot_read_changes_nothing(servers: Servers) -> None:
    async with api_harness(servers) as harness:
        worker = Worker(harness)
        await harness.tariff()
        await harness.redis.hset(keys.CATALOG, mapping={"version": 98, "documents": b"\xc1"})
        await worker.settled()
        assert "cannot be read" in worker.follower.why  # never had any: not ready
        await harness.redis.hset(keys.CATALOG, mapping={"version": 99, "documents": b"\x90"})
        await worker.settled()
        assert worker.follower.why == ""
        served = worker.context.catalog
        await harness.redis.hset(keys.CATALOG, mapping={"version": 100, "documents": b"\xc1"})
        await worker.settled()
        assert (worker.follower.why, worker.context.catalog) == ("", served)


async def test_who_asks_for_the_newest_waits_for_it(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> Any:
        time.sleep(0.1)
        return unpack_catalog(*arguments)

    monkeypatch.setattr("ocs.processes.catalog_follower.unpack_catalog", slow)
    async with api_harness(servers) as harness:
        worker = Worker(harness)
        await worker.follower.newest()
        assert worker.versions == {}
        await harness.tariff()
        await worker.check()
        await asyncio.sleep(0.05)  # the first is being compiled
        await harness.tariff(FLAT.replace("0.01", "0.02"))
        await asyncio.gather(worker.follower.newest(), worker.follower.newest())
        assert worker.versions == {"flat": 2}
        await harness.redis.hset(keys.CATALOG, mapping={"version": 98, "documents": b"\xc1"})
        await worker.follower.newest()  # what cannot be read does not keep anybody
        assert worker.versions == {"flat": 2}


@pytest.mark.parametrize("away", [ConnectionError("away"), TimeoutError()])
async def test_what_is_there_serves_on_when_redis_is_away(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, away: Exception
) -> None:
    async def fails(*words: str) -> Any:
        if isinstance(away, TimeoutError):
            await asyncio.sleep(3_600)
        raise away

    async with api_harness(servers) as harness:
        worker = Worker(harness)
        await harness.tariff()
        await worker.follower.newest()
        monkeypatch.setattr(worker.follower, "_redis", SimpleNamespace(hget=fails))
        monkeypatch.setattr("ocs.processes.catalog_follower.NEWEST_S", 0.05)
        await worker.follower.newest()
        assert worker.versions == {"flat": 1}
