"""kill -9 of a primary and of its replica under load, `redis.replicas_on_disk`: whichever of the two comes back alone
has every call that was answered on its disk. A replica that writes nothing to its disk acknowledges nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from balances import keys
from balances.ledger.record import decode
from balances.packing import fresh_account, pack
from balances.redis.calls import Lost, NotSent
from balances.redis.connection import RedisConnection
from balances.redis.pending import ended
from balances.redis.replicas import ReplicaPromise
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, Post, Posting
from ocs.clock import now_ms
from ocs.processes.embedded import find_valkey
from tariffs.units import Kind
from tests.live_cluster import ClusterServer, free_ports, until

pytestmark = pytest.mark.serial

ACCOUNTS = [f"acct-{number}" for number in range(16)]
ON_DISK = ReplicaPromise(1, on_disk=True)
PATIENCE_S = 60.0


class ReplicatedPair:
    def __init__(self, home: Path) -> None:
        first, second = free_ports(2)
        common = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "repl-diskless-sync-delay": "0",
            "auto-aof-rewrite-percentage": "0",
        }
        self.primary = ClusterServer(home / "primary", first, find_valkey(), common)
        self.replica = ClusterServer(
            home / "replica", second, find_valkey(), common | {"replicaof": f"127.0.0.1 {first}"}
        )
        self.servers = self.primary, self.replica

    @property
    def url(self) -> str:
        return f"redis://{self.primary.name}"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        until(lambda: all(server.role() for server in self.servers), "both answer")
        until(lambda: self.primary.client.info("replication")["connected_slaves"] == 1, "it has a replica")
        until(lambda: self.replica.client.info("replication")["master_link_status"] == "up", "the replica follows")

    def stop(self) -> None:
        for server in self.servers:
            server.kill()
            server.client.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[ReplicatedPair]:
    made = ReplicatedPair(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextlib.asynccontextmanager
async def store_of(pair: ReplicatedPair, promise: ReplicaPromise) -> AsyncIterator[Store]:
    link = RedisConnection(pair.url, now_ms=now_ms, unfenced=True, replicas=promise)
    await link.start(PATIENCE_S)
    try:
        yield Store(link)
    finally:
        await link.stop()


async def post(store: Store, account: str, key: str) -> str:
    """How it ended."""
    wanted = Post(account, key, "f", now_ms(), 60_000, "me", "", "", [Posting(MAIN, Kind.MONEY, 1, "world", "top-up")])
    try:
        return (await store.post(wanted).wait()).status
    except (Lost, NotSent) as why:
        return type(why).__name__


async def opened(store: Store, account: str) -> None:
    opening = AccountOpening(raw_of(pack(fresh_account(account, "EUR"))), [], [], now_ms(), "open")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Lost, NotSent):
                assert (await store.open(account, opening).wait()).status in ("ok", "exists")
                return


def keys_at(server: ClusterServer) -> set[str]:
    """What a server has on record, once it has read what is on its disk."""
    server.start()
    until(lambda: bool(server.role()) and not server.client.info("persistence")["loading"], "it has read its file")
    found: set[str] = set()
    for shard in range(keys.SHARDS):
        for at, fields in server.client.xrange(keys.ledger(shard)):
            found.add(decode([at, [part for pair in fields.items() for part in pair]]).record.key)
    server.kill()
    return found


@pytest.mark.parametrize("first", ["primary", "replica"])
async def test_what_was_answered_is_on_both_disks(pair: ReplicatedPair, first: str) -> None:
    answered: set[str] = set()

    async def load(store: Store, account: str) -> None:
        for number in range(1_000_000):
            key = f"{account} {number}"
            if await post(store, account, key) == "ok":
                answered.add(key)
            else:
                await asyncio.sleep(0.01)

    async with store_of(pair, ON_DISK) as store:
        for account in ACCOUNTS:
            await opened(store, account)
        loads = [asyncio.create_task(load(store, account)) for account in ACCOUNTS]
        async with asyncio.timeout(PATIENCE_S):
            while len(answered) < 1_000:
                await asyncio.sleep(0.01)
        one, other = pair.servers if first == "primary" else pair.servers[::-1]
        one.kill()
        other.kill()
        await ended(loads)
    for server in pair.servers:  # each alone
        assert answered - await asyncio.to_thread(keys_at, server) == set()


async def test_a_replica_without_a_file_acknowledges_nothing(pair: ReplicatedPair) -> None:
    replica: redis.Redis = pair.replica.client
    async with store_of(pair, ON_DISK) as store, store_of(pair, ReplicaPromise(1)) as in_memory:
        await opened(store, ACCOUNTS[0])
        assert await post(store, ACCOUNTS[0], "before") == "ok"
        replica.config_set("appendonly", "no")
        assert await post(in_memory, ACCOUNTS[0], "in memory") == "ok"
        assert await post(store, ACCOUNTS[0], "on disk") == "Lost"
        replica.config_set("appendonly", "yes")
        async with asyncio.timeout(PATIENCE_S):  # the same again, until the replica has written its file
            while (said := await post(store, ACCOUNTS[0], "on disk")) == "Lost":
                await asyncio.sleep(0.05)
        assert said == "again"
