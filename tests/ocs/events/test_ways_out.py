"""The keeper's part: the outbox, buckets that end soon, a Redis stream, retention, alarms."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from balances.ledger.event_data import ShardStopped
from balances.ledger.event_filter import EventFilter
from balances.ledger.in_words import time_of
from ocs.events import log, outbox, retention
from ocs.events.event import Event
from ocs.events.expiring import forget_ends, tell_expiring
from ocs.events.pump import EventPump
from ocs.events.redis_stream import RedisStreamSink
from ocs.keeper.events import EventSettings
from tests.ocs.api_harness import ApiHarness
from tests.ocs.events.test_log import data_of
from tests.ocs.keeper.test_keeper import keeping
from tests.servers import Servers

DAY_MS = 86_400_000


async def ids(harness: ApiHarness, *types: str) -> list[str]:
    return [one.row.id for one in (await log.read(harness.pool, 0, EventFilter(types))).events]


async def soon(harness: ApiHarness, ahead_ms: int, within_ms: int = 3 * DAY_MS) -> int:
    looked = 0
    while found := await tell_expiring(harness.pool, harness.now_ms() + ahead_ms, within_ms):
        looked += found
    await outbox.move(harness.pool)
    return looked


async def with_bucket(harness: ApiHarness, account: str, days: int, amount: str = "1000") -> None:
    ends = time_of((harness.now_ms() // 1_000) * 1_000 + days * DAY_MS)
    made = await harness.top_up(amount, account, kind="octets", name="bundle", valid_until=ends)
    assert made.status_code == 201, made.text
    await harness.sync()


async def test_a_bucket_that_ends_soon_is_told_once_for_each_end(harness: ApiHarness) -> None:
    await harness.account()
    await with_bucket(harness, "a1", 10)
    assert await soon(harness, 0) == 0
    assert sum(await asyncio.gather(soon(harness, 8 * DAY_MS), soon(harness, 8 * DAY_MS))) == 1
    assert await soon(harness, 9 * DAY_MS) == 0
    (told,) = await data_of(harness, "bucket.expiring")
    assert (told.account, told.kind, told.amount, told.bucket_name) == ("a1", "octets", "1000", "bundle")
    await harness.top_up("1.00")  # the record names the same end again
    await harness.sync()
    assert await soon(harness, 9 * DAY_MS) == 0
    await forget_ends(harness.pool, harness.now_ms() + 20 * DAY_MS)
    assert await harness.pool.fetchval("SELECT count(*) FROM bucket_ends") == 0


class FailingSink:
    """Takes what it likes, and notes it before it fails."""

    name = "test"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.fails = 0

    async def deliver(self, events: Sequence[Event]) -> None:
        self.taken += [event.id for event in events]
        if self.fails:
            self.fails -= 1
            raise ConnectionError("not noted")


async def test_what_was_not_noted_is_delivered_again_with_its_ids(harness: ApiHarness) -> None:
    sink = FailingSink()
    await EventPump(harness.pool, sink, EventFilter()).step()
    await harness.account()
    for number in range(5):
        await harness.top_up("1.00")
        await harness.sync()
        sink.fails = number % 2
        pump = EventPump(harness.pool, sink, EventFilter())  # a process of its own each time
        if sink.fails:
            with pytest.raises(ConnectionError):
                await pump.step()
        else:
            assert not await pump.step()
    there = await ids(harness)
    assert list(dict.fromkeys(sink.taken)) == there
    assert len(there) == 6
    assert len(sink.taken) == 8


async def test_a_redis_stream_has_each_event_once(harness: ApiHarness, servers: Servers) -> None:
    async with Redis.from_url(servers.redis_url, protocol=2) as client:
        redis: Any = client
        make: Callable[[], EventPump] = lambda: EventPump(  # noqa: E731
            harness.pool, RedisStreamSink(redis, "out", 1_000), EventFilter(("top_up.received",))
        )
        await make().step()
        await harness.account()
        for _ in range(3):
            await harness.top_up("1.00")
        await harness.sync()
        await make().step()
        await harness.pool.execute("UPDATE event_consumers SET seq = seq - 2 WHERE name = 'redis'")  # not noted
        await harness.top_up("1.00")
        await harness.sync()
        await make().step()
        entries = [fields for _, fields in await redis.xrange("out")]
    assert [fields[b"id"].decode() for fields in entries] == await ids(harness)
    assert msgspec.json.decode(entries[0][b"event"])["data"]["buckets"][0]["after"] == "1.00"
    assert [fields[b"account"] for fields in entries] == [b"a1"] * 4


async def test_what_is_old_goes_unless_somebody_is_not_done_with_it(harness: ApiHarness) -> None:
    pool = harness.pool
    await harness.account()
    for _ in range(3):
        await harness.top_up("1.00")
    await harness.sync()
    number = await log.subscribe(pool, "slow", "test", EventFilter())
    await harness.top_up("1.00")
    await harness.sync()
    (lag,) = await retention.lags(pool)
    assert (lag.name, lag.behind) == ("slow", 1)
    assert abs(lag.oldest_ms - harness.now_ms()) < 60_000
    assert await retention.delete_old(pool, 0) == 0
    assert await retention.delete_old(pool, harness.now_ms() + 1) == 3
    assert await retention.delete_old(pool, harness.now_ms() + 1) == 0
    await log.advance(pool, "slow", number, number + 1)
    assert await retention.delete_old(pool, harness.now_ms() + 1) == 1
    assert [one.behind for one in await retention.lags(pool)] == [0]
    await harness.top_up("1.00")
    await harness.sync()
    assert len((await log.read(pool, number, EventFilter())).events) == 1


async def test_the_keeper_moves_delivers_and_says_who_is_behind(servers: Servers) -> None:
    sink = FailingSink()
    settings = EventSettings(behind_alarm_ms=1)

    async with keeping(servers, events=settings) as both:
        pool = both.books.pool
        both.keeper.events._pump = EventPump(pool, sink, EventFilter())
        await both.until(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM event_consumers WHERE name = 'test')"))
        async with pool.acquire() as pg:
            await outbox.emit(pg, "shard.stopped", ShardStopped(1, "why"), at_ms=1, key="1", subject="1")
        await both.until(lambda: sink.taken == ["shard.stopped:1"])
        await log.subscribe(pool, "slow", "test", EventFilter())
        async with pool.acquire() as pg:
            await outbox.emit(pg, "shard.stopped", ShardStopped(2, "why"), at_ms=1, key="2", subject="2")
        await both.until(lambda: len(sink.taken) == 2)
        await both.keeper.events.look()
        assert {one.name: one.behind for one in both.keeper.events.lags}["slow"] == 1
        assert "slow by 1" in both.keeper.standing._told["events"][0]


async def test_publishing_stopping_and_books_that_do_not_agree_are_told(harness: ApiHarness) -> None:
    await harness.tariff()
    await harness._sync.writer.stop(7, "a test")
    await outbox.move(harness.pool)
    (published,) = await data_of(harness, "tariff.published")
    assert (published.tariff, published.version) == ("flat", 1)
    await harness.account()
    await harness.top_up("1.00")
    await harness.sync()
    await harness.pool.execute("UPDATE ledger_entries SET after = after + 1")
    assert not (await harness.call("POST", "/v1/ledger/verify")).json()["sound"]
    await outbox.move(harness.pool)
    (violated,) = await data_of(harness, "invariant.violated")
    assert violated.what == "the books do not agree"
    assert "a1" in violated.detail
    (stopped,) = await data_of(harness, "shard.stopped")
    assert (stopped.shard, stopped.why) == (7, "a test")
