"""Each event once, in order for each account, none skipped: whatever copies at once, commits late, or starts again."""

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from balances.ledger.event_data import ShardStopped
from balances.ledger.event_filter import EventFilter
from balances.ledger.events import EventRow, append
from balances.ledger.sync import NotOpen, Sync
from balances.ledger.writer import CursorMoved
from balances.redis.primaries import plain
from ocs.events import log, outbox
from ocs.events.log import NumberedEvent
from tests.balances.ledger.books import LedgerStores, close, connect
from tests.servers import Servers

CHANGES = EventFilter(("balance.changed", "shard.stopped"))
ACCOUNTS = [f"acct-{number}" for number in range(12)]


async def copy(books: LedgerStores, done: asyncio.Event) -> None:
    """As a keeper of its own, until all is copied."""
    sync = Sync(plain(books.redis), books.pool, alarm=print)
    while True:
        over = done.is_set()
        try:
            step = await sync.step()
        except (CursorMoved, NotOpen):
            continue
        if over and not step.written and not step.more:
            return
        await asyncio.sleep(0)


async def consume(pool: Any, chance: random.Random, expected: int) -> list[NumberedEvent]:
    """A consumer that is killed now and then before it has noted what it did; what it saw, repeats included."""
    number = await log.subscribe(pool, "w", "test", CHANGES)
    seen: list[NumberedEvent] = []
    async with asyncio.timeout(30):
        while len({one.row.id for one in seen}) < expected:
            batch = await log.read(pool, number, CHANGES, limit=chance.randint(1, 40))
            seen += batch.events
            if chance.random() < 0.3:  # it starts again, from what is noted
                (consumer,) = await log.consumers(pool, "test")
                number = consumer.seq
                continue
            if batch.upto != number:
                assert await log.advance(pool, "w", number, batch.upto)
                number = batch.upto
            await asyncio.sleep(0)
    return seen


async def put_out(pool: Any, chance: random.Random, count: int) -> None:
    """What is no record, in transactions that commit in another order than they began."""

    async def one(number: int) -> None:
        async with pool.acquire() as pg, pg.transaction():
            told = ShardStopped(number, "")
            await outbox.emit(pg, "shard.stopped", told, at_ms=1, key=str(number), subject="1")
            await asyncio.sleep(chance.random() / 100)

    await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed-{seed}")
async def test_each_once_in_order_under_concurrent_copying(servers: Servers, seed: int) -> None:
    chance = random.Random(seed)
    books = await connect(servers.redis_url, servers.pg_dsn)
    try:
        await books.open()
        await log.subscribe(books.pool, "w", "test", CHANGES)
        done = asyncio.Event()

        async def move() -> None:
            async with asyncio.timeout(30):
                while not done.is_set() or await outbox.move(books.pool):
                    await outbox.move(books.pool)
                    await asyncio.sleep(0)

        reading = asyncio.create_task(consume(books.pool, chance, 120 + 20))
        copying = [asyncio.create_task(copy(books, done)) for _ in range(3)]
        moving = [asyncio.create_task(move()) for _ in range(2)]
        telling = asyncio.create_task(put_out(books.pool, random.Random(seed), 20))
        for _ in range(120):
            await books.move(chance.choice(ACCOUNTS), chance.choice([5, 7, 1_000_000]))
        await telling
        done.set()
        await asyncio.gather(*copying, *moving)
        seen = await reading
        kept = (await log.read(books.pool, 0, CHANGES)).events
        assert [one.seq for one in kept] == list(range(1, 141))
        # What was seen first of each is what is kept, in its order, and each record is there once.
        assert list(dict.fromkeys(one.row.id for one in seen)) == [one.row.id for one in kept]
        records = await books.pool.fetch(
            "SELECT account, shard || '-' || epoch || '-' || n || '-balance.changed' AS id FROM calls"
            " WHERE account <> '' ORDER BY account, position"
        )
        told: dict[str, list[str]] = defaultdict(list)
        for one in kept:
            if one.row.type == "balance.changed":
                told[one.row.account].append(one.row.id)
        expected: dict[str, list[str]] = defaultdict(list)
        for account, id_ in records:
            expected[account].append(id_)
        assert told == expected
    finally:
        await close(books)


async def test_a_reader_waits_for_a_commit_that_is_late(servers: Servers) -> None:
    """The one that took the lower number commits later: nobody gets the higher one before."""
    books = await connect(servers.redis_url, servers.pg_dsn)
    pool = books.pool
    row = EventRow("1-1-1-x", "shard.stopped", "", "", "1", 1, "{}")
    try:
        async with pool.acquire() as late:
            transaction = late.transaction()
            await transaction.start()
            await append(late, [row])

            async def second() -> None:
                async with pool.acquire() as pg, pg.transaction():
                    await append(pg, [row._replace(id="1-1-2-x")])

            waiting = asyncio.create_task(second())
            done, _ = await asyncio.wait((waiting,), timeout=0.2)
            assert not done
            batch = await log.read(pool, 0, CHANGES)
            assert (batch.events, batch.upto, batch.last) == ([], 0, 0)
            await transaction.commit()
        await waiting
        assert [one.row.id for one in (await log.read(pool, 0, CHANGES)).events] == ["1-1-1-x", "1-1-2-x"]
    finally:
        await close(books)
