"""Two builds on one store under load: the step to another stored format, and from the build before to this one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio

from balances import keys
from balances.packing import ACCOUNT_FIELD
from balances.redis.pending import ended
from balances.structs.blob import READS
from loadtest.api import Api
from loadtest.audit import Audit
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun
from loadtest.scenario import load
from tests.drills.builds import NEXT, build_before, newer_build
from tests.drills.hosts import Balancer, DrillHost, started, stores_of
from tests.servers import LivePostgres, LiveValkey, Servers

pytestmark = pytest.mark.serial

SOON_S = 90.0
RATE = 60
SUBSCRIBERS = 60
NOW = READS[-1]


@pytest.fixture
def servers(redis_url: str, pg_dsn_bare: str, valkey: LiveValkey, postgres: LivePostgres) -> Servers:
    return Servers(redis_url, pg_dsn_bare, valkey, postgres)


@contextlib.asynccontextmanager
async def witnessed(port: int, by: DrillHost) -> AsyncIterator[LoadRun]:
    """A load on this port; afterwards the audit holds and the books are proved, both by the API of that host."""
    scenario = load("mixed", subscribers=SUBSCRIBERS, rate=RATE, timeout_s=5.0)
    client = LoadClient(Target("127.0.0.1", port), connections=4, timeout_s=5.0, record=True)
    await client.start(SOON_S)
    async with by.api() as api:
        await Provision(api, scenario).run()
        audit = Audit(api, [account_of(scenario, index) for index in range(SUBSCRIBERS)])
        await audit.before()
        load_run = LoadRun(client, scenario, seed=7)
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 300.0))
        yield load_run
        await ended((load_on,))
        await load_run.finish(60.0)
        assert not client.unanswered
        verdict = await audit.after(load_run.dues.micro, load_run.dues.left_open)
        assert verdict.holds, verdict
        assert (verdict.held, verdict.debited > 0) == (0, True)
        proof = await api.post("v1", "ledger", "verify", body={})
        assert proof["sound"], proof
    await client.stop()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await condition():
            await asyncio.sleep(0.2)


async def answered(load_run: LoadRun, count: int) -> None:
    """So many more."""
    wanted = len(load_run.client.answered or ()) + count

    async def they_are() -> bool:
        return len(load_run.client.answered or ()) >= wanted

    await until(they_are)


async def stored(client: Any, account: str) -> list[Any]:
    """An account as it is stored, with fields that this build does not know."""
    packed = await client.hget(keys.account(account), ACCOUNT_FIELD)
    return [] if packed is None else list(msgspec.msgpack.decode(packed))


async def top_up(api: Api, account: str, key: str) -> None:
    await api.post("v1", "accounts", account, "topups", body={"amount": "1.00"}, key=key)


async def test_a_format_is_written_once_all_hosts_read_it(servers: Servers, tmp_path: Path) -> None:
    stores: Sequence[str] = (*stores_of(servers), "upgrade.after_s=1")
    a = DrillHost("a", stores, "host.name=a")
    b = DrillHost("b", stores, "host.name=b", tree=newer_build(tmp_path))
    client: Any = redis.asyncio.Redis.from_url(servers.redis_url)
    async with (
        client,
        started(a, b),
        Balancer([a, b]) as balancer,
        b.api() as api,
        witnessed(balancer.port, b) as load_run,
    ):
        await api.put("v1", "accounts", "acc", body={"currency": "EUR"})
        await top_up(api, "acc", "1")
        await answered(load_run, 2 * RATE)

        async def is_up_to_date() -> bool:
            """In the newest that this build reads, which both do."""
            return bool((await api.get("v1", "status"))["format"]["written"] == NOW)

        await until(is_up_to_date)
        told = (await api.get("v1", "status"))["format"]
        assert (told["written"], told["announced"], told["newest"]) == (NOW, NOW, NEXT)
        assert any(why.startswith("host a reads formats") for why in told["held_back"]), told
        assert (await stored(client, "acc"))[-1] == 0, "the new field is not written while a host would drop it"

        assert await a.stop() == 0

        async def is_written() -> bool:
            return bool((await api.get("v1", "status"))["format"]["written"] == NEXT)

        await until(is_written)
        assert await client.get(keys.FORMAT) == f"{NEXT} {NEXT}".encode()

        async def is_heard() -> bool:
            """By each process: the API's own postings count then."""
            await top_up(api, "acc", f"heard-{asyncio.get_running_loop().time()}")
            return bool((await stored(client, "acc"))[-1])

        await until(is_heard)
        await answered(load_run, 2 * RATE)

        # The build before may not come back, and says why.
        await a.start()
        assert a.process is not None
        assert await asyncio.wait_for(a.process.wait(), SOON_S) == 1
        assert f"stored in format {NEXT}; this version reads formats {READS[0]} to {NOW}" in a.log

        # A restore brings the field back with the rest.
        before = await stored(client, "acc")

        async def is_copied() -> bool:
            return bool((await api.get("v1", "status"))["shards"]["lag_entries"] == 0)

        await until(is_copied)
        await client.delete(keys.account("acc"))
        await top_up(api, "acc", "after")
        after = await stored(client, "acc")
        assert after[-1] == before[-1] + 1


async def test_from_the_build_before_to_this_one(servers: Servers, tmp_path: Path) -> None:
    """Host after host, under load: both builds serve one store for a while, and nobody has to ask twice."""
    stores, before = stores_of(servers), build_before(tmp_path)
    old = DrillHost("old", stores, "diameter.drain_s=10", tree=before, probe="http")
    new = DrillHost("new", stores, "diameter.drain_s=10")
    next_ = DrillHost("next", stores, "diameter.drain_s=10")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(started(old))
        balancer = await stack.enter_async_context(Balancer([old]))
        stack.push_async_callback(new.end)
        stack.push_async_callback(next_.end)
        # The witness asks the new build in the end; until that is there, nobody does.
        await new.start()
        await new.ready()
        load_run = await stack.enter_async_context(witnessed(balancer.port, new))
        await answered(load_run, 2 * RATE)
        balancer.hosts.append(new)
        assert await old.stop() == 0
        balancer.hosts.remove(old)
        await answered(load_run, 2 * RATE)
        await next_.start()
        await next_.ready()
        balancer.hosts.append(next_)
        await answered(load_run, RATE)
        counts = load_run.client.counts
        assert counts.ended_connections > 0, "peers were told (DPR)"
        assert (counts.resent, counts.surplus, counts.misaddressed) == (0, 0, 0)
