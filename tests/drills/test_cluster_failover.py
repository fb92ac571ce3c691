"""kill -9 of one primary of a cluster under load, durability `replicated`: every answer holds, nothing twice, nothing
lost, and who is on the other primaries is served meanwhile. The witness is that of test_kill.py."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.api import Api
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import RATE, witnessed
from tests.live_cluster import LiveCluster

pytestmark = pytest.mark.serial

PATIENCE_S = 120.0


@pytest.fixture
def cluster() -> Iterator[LiveCluster]:
    settings = {"maxmemory": "256mb", "min-replicas-to-write": "1", "min-replicas-max-lag": "2"}
    with tempfile.TemporaryDirectory(prefix="ocs-cluster-") as home:
        made = LiveCluster(Path(home), settings=settings)
        try:
            made.start()
            yield made
        finally:
            made.stop()


async def until_status(server: BenchServer, *wanted: str) -> None:
    async with Api(server.url, server.token) as api, asyncio.timeout(PATIENCE_S):
        while (await api.call("GET", ("readyz",))).body["status"] not in wanted:
            await asyncio.sleep(0.1)


async def test_nothing_that_was_acknowledged_is_lost_with_a_primary(cluster: LiveCluster) -> None:
    settings = f"redis.url={cluster.url}", "durability=replicated", "workers=2"
    async with running(*settings) as server, witnessed(server) as load_run:
        await until_status(server, "ok")
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 12.0))
        await asyncio.sleep(2.0)
        victim = cluster.servers[0]
        shard = cluster.shards_of(victim)[0]
        victim.kill()
        await until_status(server, "degraded")  # 200: a load balancer takes no worker away
        before = len(load_run.client.answered or ())
        await asyncio.sleep(1.0)
        assert len(load_run.client.answered or ()) > before, "the other primaries serve"
        while not cluster.has_primary(shard):
            await asyncio.sleep(0.1)
        victim.start()  # as the replica that the new primary may not be without
        await until_status(server, "ok")
        await load_on
        await load_run.pace(RATE, "poisson", 2.0)
        assert cluster.primary_of(shard) is not victim
