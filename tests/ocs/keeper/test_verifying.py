"""Who proves the ledger unasked: when, once a day whoever is started, each finding told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD
from balances.structs.account import Account
from ocs.keeper.verifying import Verifying
from ocs.stores import verifications
from tests.balances.ledger.books import pack
from tests.ocs.api_harness import ApiHarness, api_harness
from tests.servers import Servers


@pytest.fixture
async def harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    async with api_harness(servers) as made:
        await made.account("a1")
        await made.top_up("5", "a1")
        await made.sync()
        yield made


class Clocked:
    """A keeper's proofs, at a time that the test says."""

    def __init__(self, harness: ApiHarness, at: str = "03:30") -> None:
        self.now = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
        self.alarms: list[str] = []
        self.copied = 1
        self.it = Verifying(
            harness.redis,
            harness.pool,
            harness.pool,
            now_ms=lambda: int(self.now.timestamp() * 1_000),
            mine=lambda: True,
            copied=lambda: True,
            counted=lambda: self.copied,
            alarm=self.alarms.append,
            rate=10,
            at=at,
        )


async def wrong(harness: ApiHarness) -> None:
    """What nothing but a fault does."""
    packed = await harness.redis.hget(keys.account("a1"), ACCOUNT_FIELD)
    account = msgspec.msgpack.decode(packed, type=Account)
    account.buckets[0].amount += 1
    await harness.redis.hset(keys.account("a1"), ACCOUNT_FIELD, pack(account))


async def told(harness: ApiHarness) -> int:
    count: int = await harness.pool.fetchval("SELECT count(*) FROM event_outbox WHERE type = 'invariant.violated'")
    return count


async def test_once_a_day_and_after_a_restart_not_again(harness: ApiHarness) -> None:
    clocked = Clocked(harness)
    await clocked.it.daily()
    assert await verifications.last(harness.pool) is None, "it began after yesterday's"
    clocked.now = clocked.now.replace(minute=31)
    await clocked.it.daily()
    first = await verifications.last(harness.pool)
    assert first is not None
    assert (first.by, first.accounts, first.findings) == ("keeper", 1, 0)
    clocked.now = clocked.now.replace(hour=23)
    await clocked.it.daily()
    again = Clocked(harness)
    again.now = clocked.now
    await again.it.daily()
    assert await verifications.last(harness.pool) == first
    assert (again.it.ended_ms, again.it.findings) == (first.ended_ms, 0)
    again.now = datetime(2026, 3, 2, 3, 30, 1, tzinfo=UTC)
    await again.it.daily()
    second = await verifications.last(harness.pool)
    assert second is not None
    assert second.began_ms > first.began_ms


async def test_never_where_no_time_is_said(harness: ApiHarness) -> None:
    clocked = Clocked(harness, at="")
    clocked.now = clocked.now.replace(day=20)
    await clocked.it.daily()
    assert await verifications.last(harness.pool) is None


async def test_a_finding_is_told_once(harness: ApiHarness) -> None:
    clocked = Clocked(harness)
    await wrong(harness)
    for _ in range(4):
        await clocked.it.sample()
        clocked.copied += 1
    assert clocked.it.found == {"sample": 1, "verify": 0}
    [alarm] = clocked.alarms
    assert "amount a1" in alarm
    assert await told(harness) == 1
    clocked.now = clocked.now.replace(minute=40)
    await clocked.it.daily()
    assert (clocked.it.findings, clocked.it.found["verify"], await told(harness)) == (1, 1, 2)


async def test_where_nothing_was_written_nothing_is_compared_again(harness: ApiHarness) -> None:
    clocked = Clocked(harness)
    for _ in range(6):
        await clocked.it.sample()
    assert clocked.it.sampled == 2, "one round that may have missed a change, and one that has not"
    clocked.copied += 1
    await clocked.it.sample()
    assert clocked.it.sampled == 3
