"""Events into a stream behind Sentinels, whose primary is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from balances.ledger.event_filter import EventFilter
from ocs.events.pump import EventPump
from ocs.events.redis_stream import RedisStreamSink
from ocs.processes.keeper import sink_client
from tests.live_cluster import until
from tests.live_sentinels import LiveSentinels
from tests.ocs.api_harness import ApiHarness
from tests.ocs.events.test_ways_out import ids

pytestmark = pytest.mark.serial


async def test_the_stream_goes_on_at_the_new_primary(harness: ApiHarness, tmp_path: Path) -> None:
    live = LiveSentinels(tmp_path, replicas=1)
    try:
        await asyncio.to_thread(live.start)
        async with sink_client(live.url) as redis:
            pump = EventPump(harness.pool, RedisStreamSink(redis, "out", 1_000), EventFilter(("top_up.received",)))
            await pump.step()
            await harness.account()
            await harness.top_up("1.00")
            await harness.sync()
            await pump.step()
            former = live.servers[0]
            await asyncio.to_thread(until, lambda: live.servers[1].client.xlen("out") == 1, "the replica has it")
            former.kill()
            await harness.top_up("2.00")
            await harness.sync()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await pump.step()
                        break
                    except (OSError, RedisError):
                        await asyncio.sleep(0.1)
            found = [fields[b"id"].decode() for _, fields in await redis.xrange("out")]
        assert found == await ids(harness, "top_up.received")
        assert len(found) == 2
    finally:
        await asyncio.to_thread(live.stop)
