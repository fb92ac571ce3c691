"""Memory is full: new holds are refused with nothing written, and settlement goes on (charging.md section 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis.asyncio

from balances import keys
from balances.packing import ACCOUNT_FIELD, fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.redis.store import Store
from balances.structs.account import Account
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Charge, Phase, UsageReport
from balances.structs.posting import AccountOpening
from tariffs.ladder import Ladder, Step
from tariffs.units import Kind

LADDER = raw_of(pack(Ladder((Step(block=1, price=1),))))
OF = keys.AccountKeys("a")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    limit = (await client.config_get("maxmemory"))["maxmemory"]  # other tests find the store as it was
    yield client
    await client.config_set("maxmemory", limit)
    await client.aclose()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    link = RedisConnection(redis_url, now_ms=lambda: 1_000, answer_ms_max=30_000, unfenced=True)
    await link.start(30)
    store = Store(link)
    account = fresh_account("a", "EUR")
    account.buckets[0].amount = 1_000
    await store.open("a", AccountOpening(raw_of(pack(account)), [], [], 1, "open")).wait()
    yield store
    await link.stop()


async def charged(store: Store, phase: Phase, number: int, used: int, session: str = "s") -> str:
    reports = [UsageReport(-1, used, -1, -1, 1_000)] if used else []
    asked = -1 if phase == Phase.STOP else 0
    ask = Ask(10, -1, Kind.OCTETS, reports, asked, 100, 1, 1_000, 1, LADDER, 60_000)
    one = Charge(
        *("a", "s", session, "data", phase, number, f"{phase}:{number}", True, f"f{number}", number, False),
        *(1_000, 1_000, 0, [ask], "gw", "r", "gw"),
    )
    return (await store.charge(one, b"").wait()).status


async def test_a_termination_is_settled_and_a_grant_refused(client: Any, store: Store) -> None:
    assert await charged(store, Phase.START, 0, 0) == "ok"
    records = await client.xlen(OF.ledger)
    await client.config_set("maxmemory", 1)
    assert await charged(store, Phase.START, 0, 0, "t") == "full"
    assert await client.xlen(OF.ledger) == records, "nothing is written"
    assert await charged(store, Phase.STOP, 2, 60) == "ok"
    (main,) = msgspec.msgpack.decode(await client.hget(OF.account, ACCOUNT_FIELD), type=Account).buckets
    assert (main.amount, main.held) == (940, 0)


async def test_a_full_store_that_has_the_functions_is_used_all_the_same(
    client: Any, store: Store, redis_url: str
) -> None:
    """Whoever connects then can say nowhere that he uses them, and settles."""
    assert await charged(store, Phase.START, 0, 0) == "ok"
    await client.config_set("maxmemory", 1)
    link = RedisConnection(redis_url, now_ms=lambda: 1_000, answer_ms_max=30_000, unfenced=True)
    await link.start(30)
    assert await charged(Store(link), Phase.STOP, 1, 60) == "ok"
    await link.stop()
