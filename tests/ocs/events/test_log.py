"""Events that follow from records, the outbox, and consumers that read them."""

import asyncio
from typing import Any

import msgspec
import pytest

from balances.ledger.event_data import ShardStopped
from balances.ledger.event_filter import EventFilter
from ocs.events import log, outbox
from ocs.events.event import Event
from ocs.events.types import TYPES, unknown_types
from tests.ocs.api_harness import ApiHarness

EVERYTHING = EventFilter(tuple(TYPES))


async def told(harness: ApiHarness, wanted: EventFilter = EVERYTHING) -> list[tuple[str, str]]:
    """(type, account) of every event so far."""
    await harness.sync()
    return [(one.row.type, one.row.account) for one in (await log.read(harness.pool, 0, wanted)).events]


async def data_of(harness: ApiHarness, type_: str) -> list[Any]:
    await harness.sync()
    batch = await log.read(harness.pool, 0, EventFilter((type_,)))
    return [msgspec.json.decode(one.row.data, type=TYPES[type_].data) for one in batch.events]


async def test_what_is_always_kept_and_what_only_on_demand(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("5.00")
    assert await told(harness) == [("top_up.received", "a1")]
    await log.subscribe(harness.pool, "w", "test", EventFilter(("balance.changed",), ("a1",)))
    await harness.account("a2")
    await harness.top_up("1.00")
    await harness.top_up("2.00", "a2")
    new = (await told(harness))[1:]
    assert sorted(new) == [("balance.changed", "a1"), ("top_up.received", "a1"), ("top_up.received", "a2")]
    await log.unsubscribe(harness.pool, "w")
    await harness.top_up("1.00")
    assert len(await told(harness)) == 5


async def test_suspended_and_resumed(harness: ApiHarness) -> None:
    await harness.account()
    for state in ("suspended", "suspended", "active", "closed"):
        body = {"currency": "EUR", "state": state, "credit_limit": "1.00" if state == "active" else "0.00"}
        if state == "suspended":
            body["suspend_for"] = "fraud"
        assert (await harness.call("PUT", "/v1/accounts/a1", body, if_match="*")).status_code == 200
    types = [type_ for type_, _ in await told(harness)]
    changed = "account.settings_changed"
    # The limit that goes with the closing is changed before it.
    assert types == ["account.suspended", changed, "account.resumed", changed, changed, "account.closed", changed]
    told_last = (await data_of(harness, changed))[-1]
    assert (told_last.state, told_last.credit_limit) == ("closed", "0.00")
    (suspended,) = await data_of(harness, "account.suspended")
    assert (suspended.reasons, suspended.actor, suspended.balance) == (["fraud"], "admin", "0.00")


async def test_an_event_is_a_cloud_event(harness: ApiHarness) -> None:
    await harness.account()
    await harness.top_up("5.00", reference="ref")
    await harness.sync()
    batch = await log.read(harness.pool, 0, EventFilter())
    (one,) = batch.events
    source = await log.source(harness.pool)
    event = msgspec.json.decode(one.event(source).json())
    shard = await harness.pool.fetchval("SELECT shard || '-' || epoch || '-' || n FROM calls WHERE kind = 'post'")
    assert event["id"] == f"{shard}-top_up.received"
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "top_up.received", "a1")
    assert event["dataschema"] == "urn:ocs:event:top_up.received:1"
    assert event["data"]["buckets"] == [{"bucket": 0, "kind": "money", "amount": "5.00", "after": "5.00", "entry": 1}]
    assert "service" not in event
    assert msgspec.json.decode(one.event(source).json(), type=Event).source == source


async def test_the_outbox_tells_what_committed_and_each_key_once(harness: ApiHarness) -> None:
    pool = harness.pool
    for key in ("1", "2", "2"):
        async with pool.acquire() as pg, pg.transaction():
            await outbox.emit(pg, "shard.stopped", ShardStopped(3, key), at_ms=1, key=key, subject="3")
    async with pool.acquire() as pg:
        undone = pg.transaction()
        await undone.start()
        await outbox.emit(pg, "shard.stopped", ShardStopped(3, ""), at_ms=1, key="3", subject="3")
        await undone.rollback()
    assert sum(await asyncio.gather(outbox.move(pool), outbox.move(pool))) == 3
    async with pool.acquire() as pg:
        await outbox.emit(pg, "shard.stopped", ShardStopped(3, "1"), at_ms=1, key="1", subject="3")
    assert await outbox.move(pool) == 1
    batch = await log.read(pool, 0, EVERYTHING)
    assert [one.row.id for one in batch.events] == ["shard.stopped:1", "shard.stopped:2"]
    assert [one.seq for one in batch.events] == [1, 2]


async def test_a_consumer_moves_once_and_what_its_filter_leaves_out_is_passed(harness: ApiHarness) -> None:
    pool = harness.pool
    await harness.account()
    await harness.top_up("5.00")
    await harness.sync()
    begun = await log.subscribe(pool, "w", "test", EventFilter(("shard.stopped",)))
    await harness.top_up("5.00")
    await harness.sync()
    batch = await log.read(pool, begun, EventFilter(("shard.stopped",)))
    assert (batch.events, batch.upto, batch.more) == ([], begun + 1, False)
    assert await log.advance(pool, "w", begun, batch.upto)
    assert not await log.advance(pool, "w", begun, batch.upto)
    assert [one.seq for one in await log.consumers(pool, "test")] == [begun + 1]


@pytest.mark.parametrize(
    ("asked", "takes"),
    [
        pytest.param((), {"session.opened": True, "balance.changed": False}, id="all"),
        pytest.param(("session.*",), {"session.opened": True, "account.closed": False}, id="some"),
        pytest.param(("balance.*",), {"balance.changed": False}, id="not-named"),
        pytest.param(("balance.changed",), {"balance.changed": True, "session.opened": False}, id="named"),
    ],
)
def test_types_of_a_filter(asked: tuple[str, ...], takes: dict[str, bool]) -> None:
    assert {name: EventFilter(asked).names(name) for name in takes} == takes


def test_types_nobody_has() -> None:
    assert unknown_types(["session.*", "sesion.*", "job.failed", "job"]) == ["sesion.*", "job"]
