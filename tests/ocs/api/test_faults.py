"""Stores that go away under a request: it says so, and the same key again does the rest, once."""

import asyncio

import httpx

from balances.ledger.opening import ShardOpening
from balances.ledger.sync import Sync
from ocs.clock import now_ms
from tests.ocs.api_harness import Office
from tests.servers import Servers


async def until_done(desk: Office, key: str) -> httpx.Response:
    """As a client would: the same again, for five seconds."""
    answer = await desk.top_up("1.00", key=key)
    for _ in range(50):
        if answer.status_code == 201:
            break
        await asyncio.sleep(0.1)
        answer = await desk.top_up("1.00", key=key)
    return answer


async def test_a_store_that_does_not_answer(desk: Office) -> None:
    await desk.account()
    await desk.redis.execute_command("CLIENT", "PAUSE", 30_000, "WRITE")
    unknown = await desk.top_up("20.00", key="k1")
    assert (unknown.status_code, unknown.json()["type"]) == (504, "urn:ocs:problem:fate-unknown")
    await desk.redis.execute_command("CLIENT", "UNPAUSE")
    again = await desk.top_up("20.00", key="k1")
    assert again.status_code == 201
    assert (await desk.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_redis_is_killed_and_comes_back(desk: Office, servers: Servers) -> None:
    await desk.account()
    assert (await desk.top_up("20.00", key="k1")).status_code == 201
    await desk.sync()
    servers.valkey.kill()
    for _ in range(2):
        away = await desk.top_up("1.00", key="k2")
        assert away.status_code in (503, 504), away.text
    servers.valkey.start()
    shut = await desk.top_up("1.00", key="k2")
    assert (shut.status_code, shut.json()["type"]) == (503, "urn:ocs:problem:store-unavailable")  # nobody opened it
    sync = Sync(desk.redis, desk.pool, alarm=print)
    await ShardOpening(desk.redis, desk.pool, sync.writer, alarm=print).run(now_ms() // 1000)
    done = await until_done(desk, "k2")
    assert done.status_code == 201, done.text
    assert done.json()["balance"] == "21.00"
    assert (await desk.top_up("20.00", key="k1")).json()["entries"][0]["seq"] == 1


async def test_postgres_is_killed_and_comes_back(desk: Office, servers: Servers) -> None:
    await desk.account()
    await desk.pool.execute("CHECKPOINT")  # tests run it with synchronous_commit off
    servers.postgres.kill()
    assert (await desk.call("GET", "/v1/accounts/a1")).status_code == 200  # Redis has it
    for method, path in (("GET", "/v1/accounts/a1/ledger"), ("GET", "/v1/subscribers")):
        away = await desk.call(method, path)
        assert (away.status_code, away.json()["type"]) == (503, "urn:ocs:problem:store-unavailable"), path
    assert (await desk.top_up("1.00", key="k1")).status_code == 503
    servers.postgres.start()
    done = await until_done(desk, "k1")
    assert done.status_code == 201, done.text
