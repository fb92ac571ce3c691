"""kill -9 of the primary that Sentinels watch, under load, durability `replicated`: every answer holds, nothing twice,
nothing lost, also when the former primary comes back as a master. The witness is that of test_kill.py."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from balances import keys
from tests.bench.server import running
from tests.drills.test_cluster_failover import PATIENCE_S, until_status
from tests.drills.test_kill import RATE, witnessed
from tests.live_sentinels import LiveSentinels

pytestmark = pytest.mark.serial


@pytest.fixture
def watched() -> Iterator[LiveSentinels]:
    settings = {"maxmemory": "256mb", "min-replicas-to-write": "1", "min-replicas-max-lag": "2"}
    with tempfile.TemporaryDirectory(prefix="ocs-sentinel-") as home:
        made = LiveSentinels(Path(home), replicas=1, settings=settings)
        try:
            made.start()
            yield made
        finally:
            made.stop()


async def test_nothing_that_was_acknowledged_is_lost_with_the_primary(watched: LiveSentinels) -> None:
    settings = f"redis.url={watched.url}", "durability=replicated", "workers=2"
    async with running(*settings) as server, witnessed(server) as load_run:
        await until_status(server, "ok")
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 6.0))
        await asyncio.sleep(1.0)
        victim = watched.servers[0]
        history = victim.client.info("replication")["master_replid"]
        victim.kill()
        primary = await asyncio.to_thread(watched.until_failed_over, victim)
        victim.start()  # as a master, until it is told: then it is the replica that the new primary may not be without
        await asyncio.to_thread(watched.follow, victim, primary)
        await until_opened(watched, history)
        await until_status(server, "ok")
        await load_on
        before = len(load_run.client.answered or ())
        await load_run.pace(RATE, "poisson", 1.0)
        assert len(load_run.client.answered or ()) > before


async def until_opened(watched: LiveSentinels, former: str) -> None:
    """The history of the primary is published, and is not the former one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            primary = watched.primary()
            if primary is not None:
                replid = primary.client.info("replication")["master_replid"]
                published = primary.client.get(keys.published(0)) or b""
                if replid != former and published.split(b" ")[0].decode() == replid:
                    return
            await asyncio.sleep(0.1)
