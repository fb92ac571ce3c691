"""A primary is cut off from its replica and the Sentinels, and a worker with it, while the replica takes over.

With `min-replicas-to-write 0` it charges on, which is lost when it is back: the risk `split` says so, and durability
`replicated` does not start. With 1 it refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from balances.ledger.opening import open_without_postgres
from balances.ledger.risks import risks_at
from balances.redis.address import StoreAddress
from balances.redis.moving_primaries import primaries_at
from balances.redis.sentinel_link import SentinelLink
from balances.redis.store import Store
from ocs.clock import now_ms
from ocs.config.load import load
from ocs.doctor.finding import Severity
from ocs.doctor.live_store import examine_live_store
from ocs.stores.guard import refused_at_start, store_troubles
from tests.drills.cable import Cable
from tests.drills.test_replicas_on_disk import keys_at, opened, post
from tests.live_cluster import free_ports
from tests.live_sentinels import SERVICE, LiveSentinels

pytestmark = pytest.mark.serial

ACCOUNT = "acct-1"
PATIENCE_S = 60.0


class CutOff:
    def __init__(self, live: LiveSentinels, to_primary: Cable, to_sentinels: list[Cable]) -> None:
        self.live, self.to_primary, self.to_sentinels = live, to_primary, to_sentinels

    @property
    def url(self) -> str:
        """Of the worker."""
        places = ",".join(f"127.0.0.1:{cable.port}" for cable in self.to_sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    def cut(self, link: SentinelLink) -> None:
        """The primary from all but this worker, and the worker from all but the primary."""
        assert link._transport is not None
        self.to_primary.cut(but=[link._transport.get_extra_info("sockname")[1]])
        for cable in self.to_sentinels:
            cable.cut()


@contextlib.asynccontextmanager
async def cut_off(home: Path, settings: dict[str, str]) -> AsyncIterator[CutOff]:
    async with contextlib.AsyncExitStack() as stack:
        (port,) = free_ports(1)
        cable = await stack.enter_async_context(Cable(port))
        live = LiveSentinels(home, replicas=1, settings=settings, primary=port, reached=cable.port)
        stack.callback(live.stop)
        await asyncio.to_thread(live.start)
        cables = [await stack.enter_async_context(Cable(one.port)) for one in live.sentinels]
        yield CutOff(live, cable, cables)


async def is_failed_over(live: LiveSentinels) -> None:
    def found() -> bool:
        return all(facts.get("port") == str(live.servers[1].port) for one in live.sentinels if (facts := one.facts()))

    async with asyncio.timeout(PATIENCE_S):
        while not (await asyncio.to_thread(found) and live.servers[1].role() == "master"):
            await asyncio.sleep(0.1)


async def until_replicated(live: LiveSentinels) -> None:
    primary, replica = (server.client for server in live.servers)
    wanted = primary.info("replication")["master_repl_offset"]
    async with asyncio.timeout(PATIENCE_S):
        while replica.info("replication")["slave_repl_offset"] < wanted:
            await asyncio.sleep(0.01)


async def is_said_before(it: CutOff, home: Path, *, charges_on: bool) -> None:
    """By a start, `ocs check`, and `ocs doctor`."""
    risks = {"split"} if charges_on else set[str]()
    assert {risk.name for risk in await risks_at(it.url, "everysec")} == risks
    config = load(overrides=[f"redis.url={it.url}", "durability=everysec"], data=home)
    assert await refused_at_start(config) == ""
    checked = await store_troubles(config)
    assert [what.partition(":")[0] for what, wrong in checked if not wrong] == (
        ["redis, split, unsafe"] if charges_on else ["redis settings"]
    )
    found = (await examine_live_store(config, it.url)).findings
    told = [one.severity for one in found if "min-replicas-to-write is 0" in one.what]
    assert told == [Severity.WARNING] * charges_on
    assert [one.severity for one in found if "durability is everysec" in one.what] == [Severity.NOTE]
    replicated = load(overrides=[f"redis.url={it.url}", "durability=replicated"], data=home)
    assert ("min-replicas-to-write is 0" in await refused_at_start(replicated)) == charges_on


@pytest.mark.parametrize("least", ["0", "1"])
async def test_who_is_cut_off_with_the_primary(tmp_path: Path, least: str) -> None:
    settings: dict[str, Any] = {"min-replicas-to-write": least, "min-replicas-max-lag": "1", "maxmemory": "256mb"}
    async with cut_off(tmp_path, settings) as it:
        async with primaries_at(it.url) as primaries:
            await open_without_postgres(primaries.all()[0], now_ms() // 1_000)
        await is_said_before(it, tmp_path, charges_on=least == "0")
        link = SentinelLink(StoreAddress(it.url), now_ms=now_ms)
        await link.start(PATIENCE_S)
        try:
            store = Store(link)
            await opened(store, ACCOUNT)
            assert await post(store, ACCOUNT, "before") == "ok"
            await until_replicated(it.live)
            it.cut(link)
            await is_failed_over(it.live)
            if least == "0":
                assert await post(store, ACCOUNT, "lost") == "ok"
            else:
                async with asyncio.timeout(PATIENCE_S):
                    while (said := await post(store, ACCOUNT, "refused")) in ("ok", "again"):
                        await asyncio.sleep(0.1)
                assert said == "NotSent"
        finally:
            await link.stop()
        for server in it.live.servers:
            server.kill()
        there = await asyncio.to_thread(keys_at, it.live.servers[1])
        assert "before" in there
        assert "lost" not in there
