"""Notification thresholds that tariffs bring for the accounts of their subscribers (charging.md section 7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from balances import keys
from ocs.master import bring_defaults as bring
from ocs.master.bring_in import bring_in
from tests.ocs.api_harness import FLAT, ApiHarness

LOW = '\n[[thresholds]]\nname = "low"\nbelow = "5.00"\n'
LAST = '\n[[thresholds]]\nname = "last"\nbelow = "1.00"\n'


async def due(harness: ApiHarness) -> int:
    query = "SELECT count(*) FROM default_thresholds_due WHERE due_ms <= $1"
    return int(await harness.pool.fetchval(query, harness.now_ms()))


async def run(harness: ApiHarness) -> None:
    """What a keeper does each second."""

    async def restored(account: str) -> object:
        return await bring_in(harness.pool, harness.redis, harness.store, account, harness.now_ms())

    await bring.bring_defaults(harness.pool, harness.store, restored, harness.now_ms)
    assert await due(harness) == 0


async def shown(harness: ApiHarness, account: str = "a1") -> list[tuple[str, str, str | None, str]]:
    found = (await harness.call("GET", f"/v1/accounts/{account}")).json()["thresholds"]
    return [(one["name"], one["below"], one["tariff"], one["state"]) for one in found]


async def records(harness: ApiHarness) -> int:
    await harness.sync()
    return int(await harness.pool.fetchval("SELECT count(*) FROM calls WHERE account = 'a1'"))


@pytest.fixture
async def one(harness: ApiHarness) -> ApiHarness:
    """An account with 3.00, and a subscriber with a tariff that tells below 5.00."""
    await harness.account()
    await harness.top_up("3.00")
    await harness.tariff(FLAT + LOW)
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    await run(harness)
    return harness


async def test_one_begins_as_it_stands_and_is_crossed_once(one: ApiHarness) -> None:
    assert await shown(one) == [("low", "5.00", "flat", "crossed")]
    await one.top_up("4.00")
    assert await shown(one) == [("low", "5.00", "flat", "armed")]
    await one.sync()
    query = "SELECT threshold_events::text FROM calls WHERE threshold_events IS NOT NULL"
    [told] = await one.pool.fetch(query)
    assert '"above"' in told[0]


async def test_a_run_that_is_repeated_changes_nothing(one: ApiHarness) -> None:
    before = await records(one)
    await one.pool.execute("INSERT INTO default_thresholds_due VALUES ('a1', 0, 1)")
    await run(one)
    assert await records(one) == before


async def test_another_version_of_the_tariff_is_followed(one: ApiHarness) -> None:
    await one.tariff(FLAT + LOW + LAST)
    await run(one)
    assert await shown(one) == [("last", "1.00", "flat", "armed"), ("low", "5.00", "flat", "crossed")]
    await one.tariff(FLAT.replace("0.01", "0.02") + LOW + LAST)
    await run(one)
    await one.tariff(FLAT)
    await run(one)
    assert await shown(one) == []


async def test_another_price_asks_no_account(harness: ApiHarness) -> None:
    await harness.account()
    await harness.tariff(FLAT + LOW)
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    await run(harness)
    await harness.tariff(FLAT.replace("0.01", "0.02") + LOW)
    assert await due(harness) == 0


async def test_its_own_win_and_give_way_again(one: ApiHarness) -> None:
    own = {"below": "2.00"}
    assert (await one.call("PUT", "/v1/accounts/a1/thresholds/low", own)).status_code == 200
    assert await shown(one) == [("low", "2.00", None, "armed")]
    await one.tariff(FLAT + LOW + LAST)
    await run(one)
    assert await shown(one) == [("last", "1.00", "flat", "armed"), ("low", "2.00", None, "armed")]
    refused = await one.call("DELETE", "/v1/accounts/a1/thresholds/last")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ocs:problem:conflict")
    assert (await one.call("DELETE", "/v1/accounts/a1/thresholds/low")).status_code == 204
    assert await shown(one) == [("last", "1.00", "flat", "armed"), ("low", "5.00", "flat", "crossed")]


async def test_with_the_last_subscriber_of_the_tariff_they_go(one: ApiHarness) -> None:
    await one.account("a2")
    body = {"account": "a2", "identities": ["msisdn:491700000001"], "tariffs": [{"tariff": "flat"}]}
    assert (await one.call("PUT", "/v1/subscribers/kid", body, if_match="*")).status_code == 200
    await run(one)
    assert (await shown(one), await shown(one, "a2")) == ([], [("low", "5.00", "flat", "crossed")])
    assert (await one.call("DELETE", "/v1/subscribers/kid", if_match="*")).status_code == 204
    await run(one)
    assert await shown(one, "a2") == []


def at(harness: ApiHarness, hours: int) -> str:
    now = datetime.fromtimestamp(harness.now_ms() / 1000, UTC)
    return (now + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_an_assignment_begins_and_ends_by_the_clock(harness: ApiHarness) -> None:
    await harness.account()
    await harness.tariff(FLAT + LOW)
    given: dict[str, Any] = {"tariff": "flat", "from": at(harness, 1), "until": at(harness, 3)}
    made = await harness.subscriber("kid", "a1", "msisdn:491700000001", tariffs=[given])
    assert made.status_code == 201, made.text
    for hours, names in ((0, []), (2, ["low"]), (4, [])):
        harness.ahead_ms = hours * 3_600_000
        assert await due(harness) == 1
        await run(harness)
        assert [name for name, *_ in await shown(harness)] == names
    assert await harness.pool.fetchval("SELECT count(*) FROM default_thresholds_due") == 0


async def test_an_account_that_the_live_store_lacks_is_brought_in(one: ApiHarness) -> None:
    await one.tariff(FLAT + LAST)
    await one.sync()
    await one.redis.delete(keys.account("a1"))
    await run(one)
    assert await shown(one) == [("last", "1.00", "flat", "armed")]


async def test_amounts_in_another_currency_say_nothing(harness: ApiHarness) -> None:
    await harness.tariff(FLAT + LOW + '\n[[thresholds]]\nname = "10 %"\npercent = 10\n')
    await harness.account("usd", currency="USD")
    await harness.subscriber("kid", "usd", "msisdn:491700000001")
    await run(harness)
    assert [name for name, *_ in await shown(harness, "usd")] == ["10 %"]
