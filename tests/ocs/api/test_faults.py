"""Stores that go away under a request: it says so, and the same key again does the rest, once."""

import asyncio

import httpx

from balances.ledger.opening import ShardOpening
from balances.ledger.sync import Sync
from balances.redis.primaries import plain
from ocs.clock import now_ms
from tests.ocs.api_harness import ApiHarness
from tests.servers import Servers


async def until_done(harness: ApiHarness, key: str) -> httpx.Response:
    """As a client would: the same again, for five seconds."""
    answer = await harness.top_up("1.00", key=key)
    for _ in range(50):
        if answer.status_code == 201:
            break
        await asyncio.sleep(0.1)
        answer = await harness.top_up("1.00", key=key)
    return answer


async def test_a_store_that_does_not_answer(harness: ApiHarness) -> None:
    await harness.account()
    await harness.redis.execute_command("CLIENT", "PAUSE", 30_000, "WRITE")
    unknown = await harness.top_up("20.00", key="k1")
    assert (unknown.status_code, unknown.json()["type"]) == (504, "urn:ocs:problem:fate-unknown")
    await harness.redis.execute_command("CLIENT", "UNPAUSE")
    again = await harness.top_up("20.00", key="k1")
    assert again.status_code == 201
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_redis_is_killed_and_comes_back(harness: ApiHarness, servers: Servers) -> None:
    await harness.account()
    assert (await harness.top_up("20.00", key="k1")).status_code == 201
    await harness.sync()
    servers.valkey.kill()
    for _ in range(2):
        away = await harness.top_up("1.00", key="k2")
        assert away.status_code in (503, 504), away.text
    servers.valkey.start()
    shut = await harness.top_up("1.00", key="k2")
    assert (shut.status_code, shut.json()["type"]) == (503, "urn:ocs:problem:store-unavailable")  # nobody opened it
    sync = Sync(plain(harness.redis), harness.pool, alarm=print)
    await ShardOpening(plain(harness.redis), harness.pool, sync.writer, alarm=print).run(now_ms() // 1000)
    done = await until_done(harness, "k2")
    assert done.status_code == 201, done.text
    assert done.json()["balance"] == "21.00"
    assert (await harness.top_up("20.00", key="k1")).json()["entries"][0]["seq"] == 1


async def test_postgres_is_killed_and_comes_back(harness: ApiHarness, servers: Servers) -> None:
    await harness.account()
    await harness.pool.execute("CHECKPOINT")  # tests run it with synchronous_commit off
    servers.postgres.kill()
    assert (await harness.call("GET", "/v1/accounts/a1")).status_code == 200  # Redis has it
    for method, path in (("GET", "/v1/accounts/a1/ledger"), ("GET", "/v1/subscribers")):
        away = await harness.call(method, path)
        assert (away.status_code, away.json()["type"]) == (503, "urn:ocs:problem:store-unavailable"), path
    assert (await harness.top_up("1.00", key="k1")).status_code == 503
    servers.postgres.start()
    done = await until_done(harness, "k1")
    assert done.status_code == 201, done.text
