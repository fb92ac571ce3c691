"""Origin-State-Id as a worker hears it: only a change costs a call, the store compares, and everybody looks anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from balances import keys
from balances.redis.connection import RedisConnection
from ocs.clock import now_ms
from ocs.net.diameter import origins as module
from ocs.net.diameter.origins import LOOK, Origins
from protocol.diameter.header import RETRANSMITTED
from protocol.diameter.message import DiameterCommand
from tests.ocs.net.world import ccr, cer, until, world


def told(w: Any) -> list[tuple[int, str]]:
    """What the store was told: value and host."""
    return [words[-2:] for words in w.told if words[:2] == ("ZADD", keys.ORIGINS)]


async def answered(client: Any, frame: bytes) -> DiameterCommand:
    client.send(frame)
    message: DiameterCommand = await client.message()
    return message


async def test_only_a_change_costs_a_call() -> None:
    """Of the request's own Origin-Host, also behind a relay."""
    async with world() as w:
        relay = await (await w.client()).open("relay.example.net")
        far: dict[str, Any] = {"origin_host": "Far.example.net"}
        for number, state in enumerate((5, 5, None, 0, 5)):
            await answered(relay, ccr(number, origin_state_id=state, **far))
        assert told(w) == [(5, "far.example.net")]
        await answered(relay, ccr(6, origin_state_id=6, **far))
        assert told(w) == [(5, "far.example.net"), (6, "far.example.net")]


async def test_a_cer_says_it_too() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer(origin_state_id=9))
        await client.message()
        await answered(client, ccr(0, origin_state_id=9))
        assert told(w) == [(9, "pgw.example.net")]


async def test_a_repeat_may_be_from_before_the_restart() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        frame = bytearray(ccr(0, origin_state_id=4))
        frame[4] |= RETRANSMITTED
        await answered(client, bytes(frame))
        assert told(w) == []


async def test_a_host_whose_profile_ignores_it() -> None:
    async with world() as w:
        client = await (await w.client()).open("ignored.example.net")
        for number in range(3):
            await answered(client, ccr(number, origin_host="ignored.example.net", origin_state_id=number + 1))
        assert w.told == []


@contextlib.asynccontextmanager
async def linked(redis_url: str, workers: int) -> AsyncIterator[tuple[list[Origins], Any]]:
    links = [RedisConnection(redis_url, now_ms=now_ms, unfenced=True) for _ in range(workers)]
    for link in links:
        await link.start(5)
    async with Redis.from_url(redis_url) as redis:
        workers_origins = [Origins(link, lambda _host: False) for link in links]
        for link, origins in zip(links, workers_origins, strict=True):
            link.ask_too(LOOK, origins.looked)
        yield workers_origins, redis
    for link in links:
        await link.stop()


async def highest(redis: Any, host: str) -> float | None:
    score: float | None = await redis.zscore(keys.ORIGINS, host)
    return score


async def test_the_highest_value_is_in_the_store(redis_url: str) -> None:
    async with linked(redis_url, 2) as ((one, other), redis):
        one.note("GW.net", 5)
        await eventually(lambda: highest(redis, "gw.net"), 5)
        other.note("gw.net", 6)
        await eventually(lambda: highest(redis, "gw.net"), 6)
        assert await redis.zscore(keys.ORIGINS_ENDED, "gw.net") == 5
        assert await redis.smembers(keys.ORIGINS_DOUBTED) == set()


async def test_a_lower_value_afterwards_is_not_believed(redis_url: str) -> None:
    """Two processes behind one name, each on its own worker: each hears one value only, until all look anew."""
    async with linked(redis_url, 2) as ((one, other), redis):
        one.note("gw.net", 5)
        await eventually(lambda: highest(redis, "gw.net"), 5)
        other.note("gw.net", 6)
        await eventually(lambda: highest(redis, "gw.net"), 6)
        await until(lambda: "gw.net" not in one.heard)  # so that its next request says it again
        one.note("gw.net", 5)
        await eventually(lambda: redis.smembers(keys.ORIGINS_DOUBTED), {b"gw.net"})
        assert await highest(redis, "gw.net") == 6


async def test_a_store_that_is_away_hears_it_with_the_next_request() -> None:
    origins = Origins(RedisConnection("redis://127.0.0.1:1", now_ms=now_ms), lambda _host: False)
    origins.note("gw.net", 5)
    assert origins.heard == {}


async def test_hosts_are_bounded(redis_url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "HOSTS_MAX", 3)
    async with linked(redis_url, 1) as ((one,), redis):
        for number in range(3):
            one.note(f"gw{number}.net", 1)
        await eventually(lambda: redis.zcard(keys.ORIGINS), 3)
        await until(lambda: one._is_full)
        one.note("gw4.net", 1)
        one.note("gw1.net", 2)
        await eventually(lambda: highest(redis, "gw1.net"), 2)
        assert await redis.zcard(keys.ORIGINS) == await redis.zcard(keys.ORIGINS_ENDED) == 3
        assert len(one.heard) <= 3


async def eventually(look: Any, wanted: object) -> None:
    async with asyncio.timeout(10):
        while await look() != wanted:
            await asyncio.sleep(0.01)


async def test_what_is_longer_than_a_name_of_a_host_is_not_kept() -> None:
    """In the live store it would lie for ever."""
    async with world() as w:
        client = await (await w.client()).open()
        await answered(client, ccr(0, origin_state_id=4, origin_host="x" * 256))
        assert told(w) == []
        await answered(client, ccr(1, origin_state_id=4, origin_host="x" * 255))
        assert told(w) == [(4, "x" * 255)]
