"""The link on a real cluster: who is served while a primary fails or gives a slot away, and what is projected."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from balances import keys
from balances.packing import fresh_account, pack
from balances.redis.address import StoreAddress
from balances.redis.calls import Lost, NotSent
from balances.redis.clients import listening, slow_client, values
from balances.redis.cluster_primaries import ClusterPrimaries
from balances.redis.router import ClusterLink
from balances.redis.store import Store
from balances.redis.topology import SHARD_SLOTS
from balances.structs.blob import raw_of
from balances.structs.charge import Phase
from balances.structs.posting import AccountOpening
from ocs.clock import now_ms
from ocs.events.event import Event
from ocs.events.redis_stream import RedisStreamSink
from ocs.master.projected_store import Overtaken, ProfilePut, SlottedStore
from ocs.processes.keeper import sink_client
from tests.balances.rules.account_harness import START_MS, ask, charge_of
from tests.live_cluster import ClusterServer, LiveCluster
from tests.secured_store import StoreSecurity, needs_tls

pytestmark = pytest.mark.serial

ACCOUNTS = tuple(f"account-{number}" for number in range(24))
PATIENCE_S = 60


@pytest.fixture
def cluster() -> Iterator[LiveCluster]:
    with tempfile.TemporaryDirectory(prefix="ocs-cluster-") as home:
        made = LiveCluster(Path(home))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def publish(cluster: LiveCluster, server: ClusterServer, epoch: int) -> None:
    """As a keeper does that has opened the shards there."""
    replid = server.client.info("replication")["master_replid"]
    for shard in cluster.shards_of(server):
        server.client.set(keys.published(shard), f"{replid} {epoch}")


@pytest.fixture
async def link(cluster: LiveCluster) -> AsyncIterator[ClusterLink]:
    for server in cluster.servers[:3]:
        publish(cluster, server, 5)
    made = ClusterLink(cluster.url, now_ms=now_ms)
    await made.start(PATIENCE_S)
    assert made.open_shards == keys.SHARDS, made.why
    yield made
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


async def opened(link: ClusterLink) -> Store:
    store = Store(link)
    for name in ACCOUNTS:
        account = fresh_account(name, "EUR")
        account.buckets[0].amount = 10**12
        opening = AccountOpening(raw_of(pack(account)), [], [], START_MS, "open")
        assert (await store.open(name, opening).wait()).status == "ok"
    return store


async def charge(store: Store, account: str, number: int) -> str:
    """An INITIAL of a session of its own: how it ended."""
    asked = charge_of(
        Phase.START, [ask(asked=100)], session=f"gw;{account};{number}", number=0, end_to_end=1, account=account
    )
    try:
        return (await store.charge(asked, b"inputs").wait()).status
    except (NotSent, Lost) as why:
        return type(why).__name__


def recorded(server: ClusterServer, account: str) -> set[str]:
    """The sessions that an account has there."""
    return {name.decode() for name in server.client.hkeys(keys.account(account)) if name != b" "}


async def test_one_primary_dies_and_the_others_charge_on(cluster: LiveCluster, link: ClusterLink) -> None:
    store = await opened(link)
    victim = cluster.servers[0]
    hit = [name for name in ACCOUNTS if keys.shard_of(name) in cluster.shards_of(victim)]
    spared = [name for name in ACCOUNTS if name not in hit]
    assert hit
    assert spared
    ends: dict[str, dict[int, str]] = {name: {} for name in ACCOUNTS}
    is_over = asyncio.Event()

    async def load(account: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            ends[account][number] = await charge(store, account, number)
            await asyncio.sleep(0.005)

    loads = [asyncio.create_task(load(name)) for name in ACCOUNTS]
    await until(lambda: all(len(ends[name]) > 20 for name in ACCOUNTS))
    shards = set(cluster.shards_of(victim))
    victim.kill()
    await until(lambda: any(server.role() == "master" for server in cluster.servers[3:]))
    promoted = next(server for server in cluster.servers[3:] if server.role() == "master")
    await until(lambda: set(cluster.shards_of(promoted)) == shards)
    assert link.open_shards == keys.SHARDS - len(shards)  # what a keeper has not opened stays shut
    before = {name: len(ends[name]) for name in spared}
    await until(lambda: all(len(ends[name]) > before[name] + 20 for name in spared))
    publish(cluster, promoted, 6)
    await until(lambda: link.open_shards == keys.SHARDS)
    since = {name: len(ends[name]) for name in hit}
    await until(lambda: all("ok" in list(ends[name].values())[since[name] :] for name in hit))
    is_over.set()
    await asyncio.gather(*loads)
    assert {end for name in spared for end in ends[name].values()} == {"ok"}
    for name in ACCOUNTS:
        there = recorded(cluster.primary_of(keys.shard_of(name)), name)
        refused = {f"gw;{name};{number}" for number, end in ends[name].items() if end == "NotSent"}
        assert not refused & there
        if name in spared:
            assert len(there) == len(ends[name])
    # Each place that was owed is paid: a request that names nobody finds the account.
    await until(lambda: not link._owed)
    for name in spared:
        for number in ends[name]:
            place = await store.where(f"gw;{name};{number}").wait()
            assert place == (name, "sub") or number <= before[name]  # those of before may have died with the primary


async def test_a_slot_moves_under_load(cluster: LiveCluster, link: ClusterLink) -> None:
    """The classic way, key by key: meanwhile some calls are refused, none is executed twice or without its fence."""
    store = await opened(link)
    account = ACCOUNTS[0]
    shard = keys.shard_of(account)
    slot, source = SHARD_SLOTS[shard], cluster.primary_of(shard)
    target = next(server for server in cluster.servers[:3] if server is not source)
    ends: dict[int, str] = {}
    is_over = asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            number = len(ends) + 1
            ends[number] = await charge(store, account, number)
            await asyncio.sleep(0.005)

    loading = asyncio.create_task(load())
    await until(lambda: len(ends) > 20)
    ids = cluster.node_id(source), cluster.node_id(target)
    target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    moved: list[Any] = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000)
    assert moved
    for key in moved:
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000)
        await asyncio.sleep(0.02)
    for server in (target, source):
        server.client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
    await until(lambda: shard in cluster.shards_of(target))
    while_shut = len(ends)
    await until(lambda: len(ends) > while_shut + 5)
    assert list(ends.values())[-1] == "NotSent"
    publish(cluster, target, 6)
    await until(lambda: list(ends.values())[-1] == "ok")
    is_over.set()
    await loading
    acknowledged = {f"gw;{account};{number}" for number, end in ends.items() if end == "ok"}
    assert recorded(target, account) == acknowledged
    epochs = {int(entry[0].split(b"-")[0]) for entry in target.client.xrange(keys.ledger(shard))}
    assert epochs == {5, 6}


async def test_the_slow_client(cluster: LiveCluster) -> None:
    """What everything but the hot path uses: single keys, many at once, channels."""
    client = slow_client(cluster.url)
    names = [keys.profile(str(number)) for number in range(50)]
    async with listening(client) as heard:
        await heard.subscribe(keys.NEWS)
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.set(name, name)
        await pipe.execute()
        assert await values(client, names) == [name.encode() for name in names]
        assert {key async for key in client.scan_iter(match=keys.profile("*"))} == {name.encode() for name in names}
        await client.publish(keys.NEWS, b"\x01")
        async with asyncio.timeout(PATIENCE_S):
            while (await heard.get_message(ignore_subscribe_messages=True, timeout=1.0) or {}).get("data") != b"\x01":
                pass
    await client.aclose()


async def test_events_into_a_stream_of_a_cluster(cluster: LiveCluster) -> None:
    """Each once, also where nobody knows what came of the last ones."""
    client = sink_client(cluster.url)
    events = [
        Event(id=f"e{number}", source="s", type="t", subject="u", time="", dataschema="", data=Raw(b"{}"))
        for number in range(5)
    ]
    await RedisStreamSink(client, "out", 1_000).deliver(events[:3])
    await RedisStreamSink(client, "out", 1_000).deliver(events)
    assert [fields[b"id"] for _, fields in await client.xrange("out")] == [b"e0", b"e1", b"e2", b"e3", b"e4"]
    await client.aclose()


async def test_what_is_projected_is_marked_on_every_primary(cluster: LiveCluster) -> None:
    client, primaries = slow_client(cluster.url), ClusterPrimaries(StoreAddress(cluster.url))
    store, old = SlottedStore(client, primaries), SlottedStore(client, primaries)
    assert await store.progress() == (None, None)
    await old.begin()
    await store.begin()
    names = [keys.profile(str(number)) for number in range(20)]
    await store.put([ProfilePut(name, 7, msgspec.msgpack.encode(["s", "a", 7])) for name in names])
    with pytest.raises(Overtaken):
        await old.put([ProfilePut(names[0], 6, msgspec.msgpack.encode(["s", "a", 6]))])
    # A run that was overtaken between its look and its write changes nothing.
    old._token = store._token
    await old.put([ProfilePut(names[0], 6, msgspec.msgpack.encode(["s", "old", 6])), ProfilePut(names[1], 6, None)])
    assert await values(client, names) == [msgspec.msgpack.encode(["s", "a", 7])] * 20
    await store.put([ProfilePut(names[2], 8, None)])
    await old.put([ProfilePut(names[2], 7, msgspec.msgpack.encode(["s", "old", 7]))])
    assert await values(client, [names[2]]) == [b"8"]
    await store.complete(8)
    assert await store.progress() == (8, None)
    # A primary that lost its last writes lost its mark: the next run begins there.
    one = cluster.servers[0]
    one.client.delete(keys.projected(cluster.shards_of(one)[0]))
    assert (await store.progress()).projected is None
    await store.begin()
    # One that was replaced in the middle of a run may lack what was written before: no marks.
    store._histories = store._histories | {one.name: "master of another history"}
    with pytest.raises(Overtaken):
        await store.complete(9)
    await primaries.close()
    await client.aclose()


@pytest.mark.parametrize(
    "announced",
    [
        {"cluster-announce-hostname": "localhost", "cluster-preferred-endpoint-type": "hostname"},
        {"bind": "127.0.0.1 ::1", "cluster-announce-ip": "::1"},
    ],
    ids=["names", "IPv6"],
)
async def test_nodes_that_announce_themselves_otherwise(tmp_path: Path, announced: dict[str, str]) -> None:
    """By name, or with an IPv6 address: in CLUSTER SLOTS, and in MOVED."""
    cluster = LiveCluster(tmp_path, replicas=0, settings=announced)
    try:
        url = await asyncio.to_thread(cluster.start)
        for server in cluster.servers:
            publish(cluster, server, 1)
        primaries = ClusterPrimaries(StoreAddress(url))
        await primaries.look()
        host = "[::1]" if "bind" in announced else "localhost"
        assert {one.name for one in primaries.all()} == {f"{host}:{server.port}" for server in cluster.servers}
        await primaries.close()
        made = ClusterLink(url, now_ms=now_ms)
        await made.start(PATIENCE_S)
        store, opening = Store(made), AccountOpening(raw_of(pack(fresh_account("a", "EUR"))), [], [], now_ms(), "open")
        for account in ACCOUNTS:
            assert (await store.open(account, opening).wait()).status == "ok"
        shard = keys.shard_of(ACCOUNTS[0])
        source = cluster.primary_of(shard)
        target = next(one for one in cluster.servers if one is not source)
        slot = SHARD_SLOTS[shard]
        source.client.execute_command(
            "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.node_id(target)
        )
        async with asyncio.timeout(PATIENCE_S):
            while cluster.primary_of(shard) is not target:
                await asyncio.sleep(0.05)
        publish(cluster, target, 2)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(Lost, NotSent):
                    assert (await store.open(ACCOUNTS[0], opening).wait()).status == "exists"
                    break
                await asyncio.sleep(0.05)
        await made.stop()
    finally:
        await asyncio.to_thread(cluster.stop)


@needs_tls
@pytest.mark.parametrize(("named", "reached"), [("localhost", True), ("elsewhere", False)])
async def test_nodes_that_announce_names_over_tls(tmp_path: Path, named: str, reached: bool) -> None:
    """Certificates carry a name and no address: the name that a node announces is the one that is checked."""
    security = StoreSecurity(tmp_path / "tls", f"DNS:{named}")
    announced = {"cluster-announce-hostname": "localhost", "cluster-preferred-endpoint-type": "hostname"}
    cluster = LiveCluster(tmp_path / "store", replicas=0, settings=announced, security=security)
    try:
        await asyncio.to_thread(cluster.start)
        for server in cluster.servers:
            publish(cluster, server, 1)
        places = [f"localhost:{server.port}" for server in cluster.servers]
        url = security.url("cluster", places[:1])
        primaries = ClusterPrimaries(StoreAddress(url))
        if not reached:
            with pytest.raises(ConnectionError, match="no node of the cluster"):
                await primaries.look()
            await primaries.close()
            return
        await primaries.look()
        assert {one.name for one in primaries.all()} == set(places)
        await primaries.close()
        made = ClusterLink(url, now_ms=now_ms)
        await made.start(PATIENCE_S)
        store, opening = Store(made), AccountOpening(raw_of(pack(fresh_account("a", "EUR"))), [], [], now_ms(), "open")
        for account in ACCOUNTS:
            assert (await store.open(account, opening).wait()).status == "ok"
        await made.stop()
    finally:
        await asyncio.to_thread(cluster.stop)
