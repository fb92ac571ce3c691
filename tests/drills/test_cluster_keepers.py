"""Keepers on two hosts, one cluster: the one that has the leases freezes while the primary that keeps them dies. The
other opens the shards and copies; the first wakes up in the middle of what it did. Nothing is lost and no seq is given
twice (the witness of test_kill.py), because every commit names its epoch (durability.md rules 5 and 6)."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from balances import keys
from tests.bench.server import BenchServer
from tests.drills.hosts import DrillHost, started
from tests.drills.test_kill import RATE, children, witnessed
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


def keeper_of(cluster: LiveCluster) -> str:
    """The host whose keeper has the lease to copy; "" while nobody has."""
    try:
        client = cluster.primary_of(0).client
        found = client.get(keys.own(0, "lease:copy"))
    except redis.RedisError:
        return ""
    return (found or b"").decode().partition(" ")[0]


def all_open(cluster: LiveCluster) -> bool:
    """Every shard is published for the history of who has it now."""
    try:
        for server in (one for one in cluster.servers if one.child is not None and one.role() == "master"):
            replid = server.client.info("replication")["master_replid"].encode()
            names = [keys.published(shard) for shard in cluster.shards_of(server)]
            pipe = server.client.pipeline(transaction=False)
            for name in names:
                pipe.get(name)
            if any((value or b"").partition(b" ")[0] != replid for value in pipe.execute()):
                return False
        return cluster.has_primary(0)
    except redis.RedisError:
        return False


async def until_there(cluster: LiveCluster, host: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (await asyncio.to_thread(keeper_of, cluster) == host and await asyncio.to_thread(all_open, cluster)):
            await asyncio.sleep(0.1)


async def test_a_keeper_freezes_with_the_primary_of_its_leases(cluster: LiveCluster, pg_dsn_bare: str) -> None:
    stores = f"redis.url={cluster.url}", f"postgres.dsn={pg_dsn_bare}"
    a = DrillHost("a", stores, "host.name=a", "durability=replicated")
    b = DrillHost("b", stores, "host.name=b", 'host.roles=["keeper"]', "durability=replicated")
    async with started(a):
        await until_there(cluster, "a")
        async with started(b):
            assert a.process is not None
            server = BenchServer(a.process.pid, a.diameter, a.http, a.metrics, a.home / "data")
            async with witnessed(server) as load_run:
                load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 8.0))
                await asyncio.sleep(1.0)
                its_keeper, victim = children(server, "ocs.processes.entry")[0], cluster.primary_of(0)
                assert keeper_of(cluster) == "a"
                os.kill(its_keeper, signal.SIGSTOP)
                victim.kill()
                while not await asyncio.to_thread(cluster.has_primary, 0):
                    await asyncio.sleep(0.1)
                victim.start()  # as the replica that the new primary may not be without
                await until_there(cluster, "b")
                os.kill(its_keeper, signal.SIGCONT)
                await load_on
                before = len(load_run.client.answered or ())
                await load_run.pace(RATE, "poisson", 1.0)
                assert len(load_run.client.answered or ()) > before
                assert keeper_of(cluster) == "b"
