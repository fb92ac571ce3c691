"""Transfers between accounts over HTTP: 201 when both legs are done, 202 while one is outstanding; only own money that
nobody holds; once per key; and nothing stays in transit (charging.md section 17)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from balances import keys
from balances.ledger import transfers
from balances.ledger.verify import verify
from balances.redis.pending import ended
from ocs.keeper.transferring import finish_transfers
from ocs.telemetry.log import logger
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, ccr, lines, mscc

MB = 2**20


@pytest.fixture
async def two(harness: ApiHarness) -> ApiHarness:
    """a1 has 10.00, b1 nothing; they are on two shards."""
    assert keys.shard_of("a1") != keys.shard_of("b1")
    await harness.account("a1")
    await harness.account("b1")
    await harness.top_up("10.00", "a1")
    return harness


async def send(harness: ApiHarness, key: str, amount: str, **other: Any) -> httpx.Response:
    body = {"from": "a1", "to": "b1", "amount": amount, "reason": "gift"} | other
    return await harness.call("POST", "/v1/transfers", body, idempotency_key=key)


@contextlib.asynccontextmanager
async def copying(harness: ApiHarness) -> AsyncIterator[None]:
    """As a keeper that only copies."""

    async def copy() -> None:
        while True:
            await harness.sync()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(copy())
    try:
        yield
    finally:
        await ended((task,))
        await harness.sync()


async def keeper(harness: ApiHarness) -> None:
    """What a keeper does later with what is on its way, until it has ended."""
    for _ in range(4):
        await harness.sync()
        await finish_transfers(harness.pool, harness.store, logger(), lambda: harness.now_ms() + 60_000, None)
    await harness.sync()


async def balances(harness: ApiHarness) -> tuple[str, str]:
    a, b = [(await harness.call("GET", f"/v1/accounts/{one}")).json()["balance"] for one in ("a1", "b1")]
    return a, b


async def sound(harness: ApiHarness) -> bool:
    await harness.sync()
    report = await verify(harness.redis, harness.backoffice.pool)
    assert report.sound, report.lines()
    return report.sums["EUR"].get("transit", 0) == 0


async def test_both_legs_are_done_and_a_repeat_says_the_same(two: ApiHarness) -> None:
    async with copying(two):
        done = await send(two, "k1", "3.00")
        assert (done.status_code, done.json()["state"]) == (201, "received"), done.text
        again = await send(two, "k1", "3.00")
        assert (again.status_code, again.json()["id"]) == (201, done.json()["id"])
        assert (await send(two, "k1", "4.00")).status_code == 409
    assert await balances(two) == ("7.00", "3.00")
    shown = (await two.call("GET", done.headers["location"])).json()
    assert (shown["from"], shown["to"], shown["amount"], shown["state"]) == ("a1", "b1", "3.00", "received")
    for account in ("a1", "b1"):
        [listed] = (await two.call("GET", f"/v1/accounts/{account}/transfers")).json()["items"]
        assert listed == shown
    told = await two.pool.fetch("SELECT type, account, data FROM events WHERE type LIKE 'transfer.%'")
    assert [(row["type"], row["account"]) for row in told] == [("transfer.received", "b1")]
    assert msgspec.json.decode(told[0]["data"])["after"] == "3.00"
    assert await sound(two)


async def test_while_nobody_copies_it_is_on_its_way_and_the_keeper_completes_it(two: ApiHarness) -> None:
    sent = await send(two, "k1", "3.00")
    assert (sent.status_code, sent.json()["state"]) == (202, "sent")
    assert await balances(two) == ("7.00", "0.00")
    await two.sync()
    report = await verify(two.redis, two.backoffice.pool)
    assert (report.sound, report.sums["EUR"]["transit"]) == (True, 3_000_000)
    await keeper(two)
    assert await balances(two) == ("7.00", "3.00")
    assert (await send(two, "k1", "3.00")).status_code == 201
    assert await sound(two)


async def test_what_is_held_credit_and_bonus_cannot_leave(two: ApiHarness) -> None:
    """The known fraud: begin a call, and transfer the credit away."""
    await two.tariff()
    await two.subscriber("s1", "a1", "msisdn:491700000001")
    await two.top_up("5.00", "a1", name="bonus")
    version = (await two.call("GET", "/v1/accounts/a1")).headers["etag"]
    await two.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "credit_limit": "50.00"}, if_match=version)
    await two.charge(ccr(I, session_id="gw;1", **lines(mscc(10, ask={"cc_total_octets": 900 * MB}))))
    held = (await two.call("GET", "/v1/accounts/a1")).json()
    free = 10_000_000 - sum(int(b["held"].replace(".", "")) * 10_000 for b in held["buckets"] if b["id"] == 0)
    assert 0 < free < 10_000_000
    over = await send(two, "k1", f"{free // 1_000_000}.{free % 1_000_000 + 1:06d}")
    assert (over.status_code, over.json()["type"]) == (409, "urn:ocs:problem:insufficient-funds")
    async with copying(two):
        assert (await send(two, "k2", f"{free // 1_000_000}.{free % 1_000_000:06d}")).status_code == 201
    assert await sound(two)


async def test_one_that_is_refused_for_good_comes_back(two: ApiHarness) -> None:
    """The receiver is closed between the legs: whoever asks again is told the same, also when it is open again."""
    assert (await send(two, "k1", "3.00")).status_code == 202
    version = (await two.call("GET", "/v1/accounts/b1")).headers["etag"]
    await two.call("PUT", "/v1/accounts/b1", {"currency": "EUR", "state": "closed"}, if_match=version)
    await two.sync()
    await finish_transfers(two.pool, two.store, logger(), lambda: two.now_ms() + 60_000, None)
    version = (await two.call("GET", "/v1/accounts/b1")).headers["etag"]
    await two.call("PUT", "/v1/accounts/b1", {"currency": "EUR", "state": "active"}, if_match=version)
    await keeper(two)
    refused = await send(two, "k1", "3.00")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ocs:problem:transfer-returned")
    assert await balances(two) == ("10.00", "0.00")
    told = await two.pool.fetch("SELECT type, account FROM events WHERE type LIKE 'transfer.%'")
    assert [tuple(row) for row in told] == [("transfer.returned", "a1")]
    assert await sound(two)


async def test_a_shard_that_lost_the_second_leg_is_given_it_again(two: ApiHarness) -> None:
    """A failover to a replica that had the first leg and not the second."""
    before = await two.redis.hgetall(keys.account("b1"))
    stream = keys.ledger(keys.shard_of("b1"))
    assert (await send(two, "k1", "3.00")).status_code == 202
    await two.sync()
    row = await transfers.read(two.pool, (await send(two, "k1", "3.00")).json()["id"])
    assert row is not None
    assert await balances(two) == ("7.00", "3.00")
    [(at, _)] = await two.redis.xrevrange(stream, count=1)
    await two.redis.xdel(stream, at)
    await two.redis.xtrim(stream, maxlen=0)
    await two.redis.delete(keys.account("b1"), keys.once("b1", keys.transfer_key(row["id"])))
    await two.redis.hset(keys.account("b1"), mapping=before)
    assert await balances(two) == ("7.00", "0.00")
    await finish_transfers(two.pool, two.store, logger(), lambda: two.now_ms() + 60_000, None)
    assert await balances(two) == ("7.00", "3.00")


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"to": "a1"}, 422, "invalid"),
        ({"to": "nobody"}, 422, "invalid"),
        ({"to": "usd"}, 422, "invalid"),
        ({"to": "shut"}, 409, "account-closed"),
        ({"from": "usd", "to": "usd2"}, 409, "insufficient-funds"),
        ({"amount": "0.001"}, 422, "invalid"),
        ({"amount": "100.01"}, 409, "limit-passed"),
        ({"amount": "10.01"}, 409, "insufficient-funds"),
        ({"from": "nobody"}, 404, "not-found"),
    ],
    ids=["itself", "nobody", "currency", "closed", "empty", "too small", "too large", "too much", "no payer"],
)
async def test_what_is_no_transfer_moves_nothing(
    two: ApiHarness, change: dict[str, Any], status: int, kind: str
) -> None:
    await two.account("usd", currency="USD")
    await two.account("usd2", currency="USD")
    await two.account("shut", state="closed")
    refused = await send(two, "k1", **({"amount": "1.00"} | change))
    assert (refused.status_code, refused.json()["type"]) == (status, f"urn:ocs:problem:{kind}"), refused.text
    assert await balances(two) == ("10.00", "0.00")


async def test_a_day_has_its_limits_and_a_barred_account_sends_nothing(two: ApiHarness) -> None:
    two.backoffice.transfers = msgspec.structs.replace(two.backoffice.transfers, day_limit="5.00", day_count=3)
    async with copying(two):
        assert (await send(two, "k1", "3.00")).status_code == 201
        assert (await send(two, "k2", "2.01")).json()["type"] == "urn:ocs:problem:limit-passed"
        assert (await send(two, "k3", "1.00")).status_code == 201
        assert (await send(two, "k4", "0.50")).status_code == 201
        assert (await send(two, "k5", "0.10")).json()["type"] == "urn:ocs:problem:limit-passed"
        two.ahead_ms = 86_400_000
        version = (await two.call("GET", "/v1/accounts/a1")).headers["etag"]
        await two.call(
            "PUT",
            "/v1/accounts/a1",
            {"currency": "EUR", "state": "suspended", "suspend_for": "fraud"},
            if_match=version,
        )
        assert (await send(two, "k6", "0.10")).json()["type"] == "urn:ocs:problem:account-barred"
    assert await balances(two) == ("5.50", "4.50")


async def test_many_at_once_under_one_key_move_it_once(two: ApiHarness) -> None:
    async with copying(two):
        found = await asyncio.gather(*(send(two, f"k{number % 3}", "2.00") for number in range(12)))
    assert {one.status_code for one in found} == {201}
    assert await balances(two) == ("4.00", "6.00")
    assert await sound(two)


async def test_a_key_that_is_forgotten_is_not_used_again(two: ApiHarness) -> None:
    """The stores remember a key for 30 days; a transfer has its id, made of the key, for ever. Money that left again
    under that id would arrive nowhere."""
    async with copying(two):
        assert (await send(two, "k1", "3.00")).status_code == 201
    await two.redis.delete(keys.once("a1", keys.request_key("admin", "k1")))
    await two.pool.execute("DELETE FROM once")
    async with copying(two):
        two.ahead_ms = 31 * 86_400_000
        assert (await send(two, "k1", "3.00")).json()["type"] == "urn:ocs:problem:key-reused"
    await keeper(two)
    assert await balances(two) == ("7.00", "3.00")
    assert await sound(two)


async def test_an_old_one_waits_until_all_that_its_accounts_did_is_copied(two: ApiHarness) -> None:
    """The live store forgets a leg after a week. With PostgreSQL from a backup it may be in a stream, or a gap."""

    async def a_week_later() -> None:
        await finish_transfers(two.pool, two.store, logger(), lambda: two.now_ms() + 8 * 86_400_000, None)

    assert (await send(two, "k1", "3.00")).status_code == 202
    await two.sync()
    await finish_transfers(two.pool, two.store, logger(), lambda: two.now_ms() + 60_000, None)
    assert await balances(two) == ("7.00", "3.00")
    [second] = [key async for key in two.redis.scan_iter(match="{s*}:once:*transfer*")]
    await two.redis.delete(second)
    await a_week_later()
    assert await balances(two) == ("7.00", "3.00")
    # One that nobody has made is made, however old; not where something of its accounts is in a gap.
    await two.sync()
    assert (await send(two, "k2", "1.00")).status_code == 202
    await two.sync()
    await two.pool.execute("UPDATE ledger_entries SET why = 'recovered' WHERE account = 'b1'")
    await a_week_later()
    assert await balances(two) == ("6.00", "3.00")
    await two.pool.execute("UPDATE ledger_entries SET why = 'transfer' WHERE account = 'b1'")
    await a_week_later()
    assert await balances(two) == ("6.00", "4.00")
    assert await sound(two)
