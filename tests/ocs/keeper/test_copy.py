"""A backlog is copied in lanes: batches of other shards that are under way at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any, Final

import asyncpg
import pytest

from balances.ledger.sync import ENTRIES_MAX, Gap, Sync, SyncStep
from balances.ledger.writer import AWAY, CursorMoved
from balances.redis.pending import ended
from balances.redis.primaries import ALL, plain
from ocs.keeper.copy import LANES
from tests.balances.ledger.books import LedgerStores, close, connect
from tests.balances.ledger.test_months import Walk
from tests.ocs.keeper.copying import LoneCopy
from tests.servers import Servers

WAIT_S: Final = 60.0


class StoodFor:
    """A `Sync` whose steps end when they are told to."""

    def __init__(self, left: dict[int, int]) -> None:
        self.primary = plain(None)
        self.left = left
        """Batches that each shard has."""
        self.under_way: dict[frozenset[int], asyncio.Future[None]] = {}
        self.steps: list[frozenset[int]] = []

    def forget(self) -> None:
        """It remembers none."""

    async def step(self, _seen: Callable[..., Any], shards: Collection[int]) -> SyncStep:
        mine = frozenset(shards)
        assert not any(mine & others for others in self.under_way), "one shard in two batches at once"
        self.steps.append(mine)
        end = self.under_way[mine] = asyncio.get_running_loop().create_future()
        try:
            await end
        finally:
            self.under_way.pop(mine, None)
        for shard in mine:
            self.left[shard] = max(0, self.left.get(shard, 0) - 1)
        return SyncStep(len(mine), {shard for shard in mine if self.left[shard]}, {})

    async def next(self, count: int = 1) -> list[frozenset[int]]:
        """Wait until so many steps are under way."""
        async with asyncio.timeout(WAIT_S):
            while len(self.under_way) < count:
                await asyncio.sleep(0)
        return sorted(self.under_way, key=min)

    def end(self, shards: Iterable[int], why: Exception | None = None) -> None:
        end = self.under_way.pop(frozenset(shards))
        end.set_result(None) if why is None else end.set_exception(why)


async def begun(left: dict[int, int]) -> tuple[StoodFor, LoneCopy, asyncio.Task[None]]:
    """After the first batch, which is of all shards."""
    sync = StoodFor(left)
    lone = LoneCopy(sync)
    task = asyncio.create_task(lone.copy())
    assert await sync.next() == [ALL]
    sync.end(ALL)
    return sync, lone, task


async def test_what_one_batch_takes_is_copied_in_one() -> None:
    sync, lone, task = await begun({7: 1, 8: 1})
    await task
    assert (sync.steps, lone.news.copy) == ([ALL], set())


async def test_a_lane_goes_on_while_the_batch_of_another_is_written() -> None:
    sync, lone, task = await begun({2: 4, 3: 2, 3 + LANES: 2})
    for _ in range(3):
        assert await sync.next(2) == [{2}, {3, 3 + LANES}]
        sync.end({2})
    sync.end({3, 3 + LANES})
    await task
    assert sync.left == dict.fromkeys(ALL, 0)
    assert lone.news.copy == set()


async def test_a_shard_that_has_much_keeps_no_other_waiting() -> None:
    sync, lone, task = await begun({2: 4})
    await sync.next()
    lone.news.of({2 + LANES, 2 + 2 * LANES, 3})
    sync.end({2})
    assert await sync.next() == [{2, 2 + LANES, 2 + 2 * LANES}]
    assert lone.news.copy == {3}, "of a lane that has nothing to do: the next copy takes it"
    sync.end({2, 2 + LANES, 2 + 2 * LANES})
    assert await sync.next() == [{2}]
    sync.end({2})
    await task


@pytest.mark.parametrize("why", [ConnectionError("cut"), CursorMoved(), RuntimeError("anything")], ids=repr)
async def test_a_lane_that_fails_ends_the_others_after_their_batch(why: Exception) -> None:
    sync, lone, task = await begun({2: 9, 2 + LANES: 9, 3: 9})
    assert await sync.next(2) == [{2, 2 + LANES}, {3}]
    sync.end({3}, why)
    await asyncio.sleep(0)
    assert not task.done(), "the batch of the other lane is under way"
    sync.end({2, 2 + LANES})
    with pytest.raises(type(why)):
        await task
    assert sync.under_way == {}
    assert lone.news.copy == {2, 2 + LANES, 3}


async def test_a_gap_that_a_lane_finds_is_closed_by_an_opening() -> None:
    sync, lone, task = await begun({2: 9, 3: 9})
    await sync.next(2)
    sync.end({2}, Gap(2, "it was trimmed"))
    sync.end({3})
    await task
    assert (lone.anew, lone.news.copy, len(lone.alarms)) == ({2}, {2, 3}, 1)


async def test_lanes_end_with_the_copy() -> None:
    sync, lone, task = await begun({2: 9, 3: 9})
    await sync.next(2)
    await ended([task])
    assert sync.under_way == {}
    assert lone.news.copy == {2, 3}


@pytest.mark.parametrize("seed", range(4))
async def test_each_record_once_by_two_keepers_whose_connections_are_cut(servers: Servers, seed: int) -> None:
    """Cut at any statement, as by a failover, a frozen server that is left, or kill -9 of a keeper."""
    dice = Random(seed)
    books = await connect(servers.redis_url, servers.pg_dsn)
    witness = await asyncpg.connect(servers.pg_dsn)
    try:
        await books.open()
        walk = Walk(books, dice, 1_800_000_000_000)
        await walk.calls(12 * 3 * ENTRIES_MAX)  # of a dozen accounts
        stop = asyncio.Event()
        tasks = [
            *(asyncio.create_task(_keeper(books, stop)) for _ in range(2)),
            asyncio.create_task(_cutter(servers.pg_dsn, witness.get_server_pid(), dice, stop)),
        ]
        await walk.calls(100)
        try:
            async with asyncio.timeout(WAIT_S):
                while await witness.fetchval("SELECT count(*) FROM ledger_entries") < len(walk.entries):
                    await asyncio.sleep(0.05)
        finally:
            stop.set()
            done, _ = await asyncio.wait(tasks, timeout=WAIT_S)
            await ended(tasks)
        assert [task.exception() for task in done] == [None] * 3
        await books.pool.expire_connections()  # one that was idle may not know yet that it was ended
        await walk.check()
    finally:
        await witness.close()
        await close(books)


async def _keeper(books: LedgerStores, stop: asyncio.Event) -> None:
    lone = LoneCopy(Sync(plain(books.redis), books.pool, alarm=books.alarms.append), books.redis)
    while not stop.is_set():
        with contextlib.suppress(*AWAY, CursorMoved):
            await lone.copy()
        await asyncio.sleep(0.01)
    assert (lone.anew, lone.alarms) == (set(), [])


async def _cutter(dsn: str, witness: int, dice: Random, stop: asyncio.Event) -> None:
    """Ends the connection of whoever is in the middle of a copy; not that of the witness, a process of the server."""
    pg = await asyncpg.connect(dsn)
    try:
        for _ in range(12):
            await asyncio.sleep(dice.random() * 0.05)
            await pg.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid NOT IN (pg_backend_pid(), $1) AND xact_start IS NOT NULL ORDER BY random() LIMIT 1",
                witness,
            )
            if stop.is_set():
                break
    finally:
        await pg.close()
