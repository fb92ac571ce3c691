"""`/v1/radius/homes`: the home servers, as the workers find them."""

from __future__ import annotations

import asyncio

from ocs.clock import now_ms
from ocs.config.radius import HomeServerConfig, RadiusHome
from ocs.config.values import Listen, Secret
from ocs.net.radius.home_book import SHOWN_MS, HomeBook
from ocs.net.radius.home_pool import HomePool
from ocs.net.radius.home_server import MISSED_MAX
from ocs.telemetry.metrics import Meter
from protocol.radius.dictionary import ATTRIBUTES
from tests.ocs.api_harness import ApiHarness

CONFIG = RadiusHome(
    servers=tuple(
        HomeServerConfig(address=Listen(f"127.0.0.{last}:1812"), secret=Secret("s"), probe=False) for last in (1, 2)
    )
)


async def told(harness: ApiHarness, at_ms: int = 0) -> None:
    """By two workers; one of them finds the second one dead."""
    for silences in (0, MISSED_MAX):
        pool = HomePool(CONFIG, ATTRIBUTES, Meter(), asyncio.get_running_loop().time)
        for _ in range(silences):
            pool.servers[1].missed()
        await HomeBook(harness.link, pool, lambda: at_ms or now_ms()).tell()


async def test_they_are_shown_as_all_workers_find_them(harness: ApiHarness) -> None:
    await told(harness)
    items = (await harness.call("GET", "/v1/radius/homes")).json()["items"]
    assert [(one["address"], one["state"], one["workers"]) for one in items] == [
        ("127.0.0.1:1812", "up", {"up": 2}),
        ("127.0.0.2:1812", "up", {"dead": 1, "up": 1}),
    ]
    assert items[1]["counts"]["unanswered"] == MISSED_MAX


async def test_workers_that_are_gone_are_not(harness: ApiHarness) -> None:
    await told(harness, now_ms() - SHOWN_MS - 1)
    assert (await harness.call("GET", "/v1/radius/homes")).json()["items"] == []
    await told(harness)
    assert len(await harness.redis.hgetall("radius:homes")) == 4, "the next one that tells tidies up"
