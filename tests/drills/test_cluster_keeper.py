"""The keeper on a real cluster: three primaries with a replica each. A failover opens the shards of that primary and no
other, a slot move those that moved; what was acknowledged and copied is there, nothing twice."""

import asyncio
import contextlib
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from balances import keys
from balances.ledger.verify import verify
from balances.ledger.writer import read_cursors
from balances.redis.topology import SHARD_SLOTS
from ocs.clock import now_ms
from ocs.keeper.keeper import Keeper
from ocs.telemetry.log import logger
from tests.cluster_books import ClusterBooks
from tests.live_cluster import ClusterServer, LiveCluster

pytestmark = pytest.mark.serial

ACCOUNTS = [f"acct-{number}" for number in range(40)]
"""They lie on all primaries."""


class KeptCluster:
    def __init__(self, cluster: LiveCluster, books: ClusterBooks, pool: Any, keeper: Keeper) -> None:
        self.cluster, self.books, self.pool, self.keeper = cluster, books, pool, keeper

    async def until(self, check: Callable[[], Awaitable[bool] | bool]) -> None:
        async with asyncio.timeout(120):
            while True:
                found = check()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.05)

    async def all_open(self) -> None:
        await self.until(lambda: len(self.keeper.copies.open_shards) == keys.SHARDS)

    async def epochs(self) -> dict[int, int]:
        return {shard: one.opened_epoch for shard, one in (await read_cursors(self.pool)).opened.items()}

    async def entries(self) -> dict[str, Counter[str]]:
        """How often each key is in the ledger, by account."""
        found: dict[str, Counter[str]] = {}
        for account, key in await self.pool.fetch("SELECT account, request_key FROM ledger_entries"):
            found.setdefault(account, Counter())[key] += 1
        return found

    async def is_copied(self) -> bool:
        posted = {account: set(done) for account, done in self.books.acknowledged.items()}
        entries = await self.entries()
        return all(done <= entries.get(account, Counter()).keys() for account, done in posted.items())

    async def proved(self) -> None:
        """No gap, no drift, no hold left, and no key twice."""

        async def sound() -> bool:
            return (await verify(self.books.slow, self.pool)).findings == []

        await self.until(sound)
        assert all(times == 1 for done in (await self.entries()).values() for times in done.values())


@pytest.fixture
async def kept(tmp_path: Path, pg_dsn: str) -> AsyncIterator[KeptCluster]:
    cluster = LiveCluster(tmp_path, timeout_ms=3_000, settings={"cluster-require-full-coverage": "no"})
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(cluster.stop)
        books = ClusterBooks(await asyncio.to_thread(cluster.start))
        stack.push_async_callback(books.close)
        pool = await stack.enter_async_context(asyncpg.create_pool(pg_dsn, min_size=1, max_size=12))
        await books.slow.initialize()
        await books.primaries.look()
        keeper = Keeper(
            books.slow, pool, books.store, logger(), now_ms=now_ms, token="t", primaries=books.primaries,
            accept_risks=("maxmemory",),
        )  # fmt: skip
        await keeper.start()
        stack.push_async_callback(keeper.stop)
        it = KeptCluster(cluster, books, pool, keeper)
        await it.all_open()
        for account in ACCOUNTS:
            await books.open(account)
        yield it
    gc.collect()  # what is said of connections that were given up is said here, and not of a later test


async def move_atomically(cluster: LiveCluster, slot: int, source: ClusterServer, target: ClusterServer) -> None:
    source.client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.node_id(target))


async def move_key_by_key(cluster: LiveCluster, slot: int, source: ClusterServer, target: ClusterServer) -> None:
    here, there = cluster.node_id(source), cluster.node_id(target)
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", here)
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
    while found := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 2):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *found)
        await asyncio.sleep(0.05)  # what is called meanwhile meets a shard that is half here and half there
    for server in (target, source):
        server.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there)


async def test_shards_of_three_primaries_are_opened_and_copied(kept: KeptCluster) -> None:
    for number in range(3):
        for account in ACCOUNTS:
            assert await kept.books.post(account, f"k{number}") == "ok"
    await kept.until(kept.is_copied)
    assert kept.keeper.stats.openings == 3
    assert kept.keeper.why == kept.keeper.shut == ""
    await kept.proved()


# A connection to a server that froze, given up while it is being made, is left to the garbage collector by the client.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_a_failover_opens_the_shards_of_that_primary_alone(kept: KeptCluster, end: str) -> None:
    for account in ACCOUNTS:
        assert await kept.books.post(account, "before") == "ok"
    await kept.until(kept.is_copied)
    epochs, rolled = await kept.epochs(), random.Random(end)
    victim = kept.cluster.primary_of(keys.shard_of(rolled.choice(ACCOUNTS)))
    gone = set(kept.cluster.shards_of(victim))
    stopping = asyncio.Event()

    async def load(account: str) -> None:
        number = 0
        while not stopping.is_set():
            while not await kept.books.post(account, f"{account} {number}"):  # the same again
                await asyncio.sleep(0.05)
            number += 1
            await asyncio.sleep(0.02)

    loads = [asyncio.create_task(load(account)) for account in ACCOUNTS]
    await asyncio.sleep(1)
    (victim.kill if end == "kill" else victim.freeze)()
    # Others charge on, and are copied, while those shards are shut.
    other = next(account for account in ACCOUNTS if keys.shard_of(account) not in gone)
    await kept.until(lambda: bool(kept.keeper.shut))
    assert f"{len(gone)} of {keys.SHARDS} shards are shut" in kept.keeper.shut
    assert kept.keeper.why == ""
    served = len(kept.books.acknowledged[other])
    await kept.until(lambda: len(kept.books.acknowledged[other]) >= served + 5)
    last = kept.books.acknowledged[other][-1]

    async def copied() -> bool:
        return last in (await kept.entries())[other]

    await kept.until(copied)
    await kept.until(
        lambda: not (gone & set(kept.keeper.copies.open_shards)) or kept.cluster.primary_of(min(gone)) is not victim
    )
    await kept.all_open()
    mended = {account: len(kept.books.acknowledged[account]) for account in ACCOUNTS}
    await kept.until(lambda: all(len(kept.books.acknowledged[account]) > mended[account] + 2 for account in ACCOUNTS))
    stopping.set()
    await asyncio.gather(*loads)
    if end == "freeze":
        victim.thaw()  # it learns that it is not a primary any more
    now = await kept.epochs()
    assert {shard for shard in now if now[shard] != epochs[shard]} == gone
    # What was acknowledged is there; of the old primary's, what had neither reached PostgreSQL nor its replica is lost.
    await kept.proved()
    entries = await kept.entries()
    for account, done in kept.books.acknowledged.items():
        assert keys.shard_of(account) in gone or set(done) <= entries[account].keys()
        assert "before" in entries[account]


@pytest.mark.parametrize("move", [move_atomically, move_key_by_key])
async def test_a_slot_that_moves_is_opened_where_it_arrives(kept: KeptCluster, move: Any) -> None:
    for account in ACCOUNTS:
        assert await kept.books.post(account, "before") == "ok"
    epochs, account = await kept.epochs(), ACCOUNTS[0]
    shard = keys.shard_of(account)
    source = kept.cluster.primary_of(shard)
    target = next(s for s in kept.cluster.servers[:3] if s is not source)
    stopping = asyncio.Event()

    async def load(account: str) -> None:
        number = 0
        while not stopping.is_set():
            while not await kept.books.post(account, f"{account} {number}"):
                await asyncio.sleep(0.02)
            number += 1

    loads = [asyncio.create_task(load(account)) for account in ACCOUNTS]
    await move(kept.cluster, SHARD_SLOTS[shard], source, target)

    async def opened() -> bool:
        return (await kept.epochs())[shard] > epochs[shard]

    await kept.until(opened)
    await kept.all_open()
    done = len(kept.books.acknowledged[account])
    await kept.until(lambda: len(kept.books.acknowledged[account]) > done + 2)
    stopping.set()
    await asyncio.gather(*loads)
    now = await kept.epochs()
    assert {one for one in now if now[one] != epochs[one]} == {
        one for one in now if SHARD_SLOTS[one] == SHARD_SLOTS[shard]
    }
    await kept.until(kept.is_copied)  # nothing that was acknowledged is lost
    await kept.proved()
