"""Recurring fees on real stores, from the document to the ledger, as a keeper's run takes them (charging.md 21)."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from balances.ledger.refunds import grant_end
from balances.ledger.verify import verify
from balances.structs.posting import AccountSettings, Fee
from ocs.fees import rows
from ocs.fees.assignment import FeeLook
from ocs.keeper.fees import FeeRun
from ocs.keeper.transferring import finish_transfers
from ocs.master.bring_in import bring_in
from ocs.telemetry.log import logger
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.killing import KilledHere

MONTHLY = """
[[fees]]
name = "base"
price = "10"
every = "month"
retry = "1 h"

[[fees.includes]]
name = "data"
amount = "1 GB"
scope = ["data"]
hours = "00:00-06:00"
blocker = true
"""


class FeeTariffs:
    """As the keeper has them."""

    def __init__(self, harness: ApiHarness) -> None:
        self._harness = harness
        self.known = True

    @property
    def catalog(self) -> Any:
        return self._harness.context.catalog

    @property
    def version(self) -> int:
        return int(self._harness.context.catalog.version)

    async def look(self) -> bool:
        return False


class FeeDesk:
    """The API, and a run at whatever hour."""

    def __init__(self, harness: ApiHarness) -> None:
        self.harness = harness
        self.run = self.new_run()

    def new_run(self) -> FeeRun:
        harness = self.harness

        async def restored(account: str) -> object:
            return await bring_in(harness.pool, harness.redis, harness.store, account, harness.now_ms())

        tariffs: Any = FeeTariffs(harness)
        return FeeRun(
            harness.pool, harness.store, tariffs, restored, now_ms=harness.now_ms, mine=lambda: True, rate=100_000
        )

    def wait_until(self, at: datetime) -> None:
        self.harness.ahead_ms = 0
        self.harness.ahead_ms = int(at.timestamp() * 1_000) - self.harness.now_ms()

    async def settle(self) -> None:
        """All that is due."""
        await self.harness.newest()
        query = "SELECT count(*) FROM fee_assignments WHERE due_ms <= $1"
        for _ in range(50):
            if not await self.harness.pool.fetchval(query, self.harness.now_ms()):
                return
            await self.run.step()
        raise AssertionError("it never ends")

    async def balance(self) -> str:
        return str((await self.harness.call("GET", "/v1/accounts/a1")).json()["balance"])

    async def entries(self) -> list[tuple[str, str, str]]:
        await self.harness.sync()
        found = (await self.harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
        return [(one["why"], one["amount"], one["reference"]) for one in found if one["counter_account"] == "fee"]

    async def told(self, *types: str) -> list[Any]:
        await self.harness.sync()
        rows = await self.harness.pool.fetch(
            "SELECT type, data FROM events WHERE type = ANY($1) ORDER BY seq", list(types)
        )
        return [row["type"] for row in rows]

    async def fees(self) -> list[Any]:
        return list((await self.harness.call("GET", "/v1/subscribers/kid/fees")).json()["items"])


def month_after(at: datetime) -> datetime:
    return (at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


@pytest.fixture
async def desk(harness: ApiHarness) -> FeeDesk:
    """An account with 100.00, and a subscriber with a monthly fee, from the next first of January on."""
    desk = FeeDesk(harness)
    desk.wait_until(datetime(2031, 1, 1, 0, 0, 1, tzinfo=UTC))
    await harness.account()
    await harness.top_up("100.00")
    await harness.tariff(FLAT + MONTHLY)
    await harness.subscriber("kid", "a1", "msisdn:491700000001")
    return desk


async def test_months_are_taken_in_order_and_renew_what_they_include(desk: FeeDesk) -> None:
    await desk.settle()
    assert await desk.entries() == [
        ("fee", "-10.00", "flat@1:base 2031-01-01/2031-02-01"),
        ("allowance", str(2**30), "flat@1:base 2031-01-01/2031-02-01"),
    ]
    desk.wait_until(datetime(2031, 4, 1, 12, tzinfo=UTC))  # nobody was there in between
    await desk.settle()
    assert [one[2][-21:] for one in await desk.entries() if one[0] == "fee"] == [
        "2031-01-01/2031-02-01",
        "2031-02-01/2031-03-01",
        "2031-03-01/2031-04-01",
        "2031-04-01/2031-05-01",
    ]
    assert len([one for one in await desk.entries() if one[0] == "allowance"]) == 2  # those of the past had ended
    assert await desk.balance() == "60.00"
    buckets = (await desk.harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    assert {(one["hours"], one["blocker"]) for one in buckets if not one["main"]} == {("00:00-06:00", True)}
    [fee] = await desk.fees()
    assert (fee["state"], fee["settled_until"], fee["next"]["due"]) == ("running", "2031-05-01", "2031-05-01T00:00:00Z")
    assert set(await desk.told("fee.charged", "allowance.renewed")) == {"fee.charged", "allowance.renewed"}


async def test_fees_have_the_charging_tags_of_their_subscriber(desk: FeeDesk) -> None:
    """Also those that are taken after it is deleted, and what is given back."""
    harness, tags = desk.harness, {"channel": "shop"}
    body = {"account": "a1", "identities": ["msisdn:491700000001"], "tariffs": [{"tariff": "flat"}], "tags": tags}
    changed = await harness.call("PUT", "/v1/subscribers/kid", body, if_match="*")
    assert changed.status_code == 200, changed.text
    await desk.settle()
    desk.wait_until(datetime(2031, 2, 2, 9, tzinfo=UTC))  # nobody looked since
    assert (await harness.call("DELETE", "/v1/subscribers/kid", if_match="*")).status_code == 204
    await desk.settle()
    await harness.sync()
    found = (await harness.call("GET", "/v1/accounts/a1/ledger?why=fee")).json()["items"]
    assert [(one["amount"], one["tags"]) for one in found] == [("-10.00", tags), ("-0.36", tags)]


async def test_another_tariff_in_mid_month_costs_the_whole_month_together(desk: FeeDesk) -> None:
    await desk.settle()
    await desk.harness.tariff(FLAT.replace('"flat"', '"other"') + MONTHLY.replace('"10"', '"31"'), "other")
    desk.wait_until(datetime(2031, 1, 11, 15, tzinfo=UTC))
    await desk.harness.call(
        "PUT", "/v1/subscribers/kid",
        {"account": "a1", "identities": ["msisdn:491700000001"], "tariffs": [{"tariff": "other"}]}, if_match="*",
    )  # fmt: skip
    await desk.settle()
    taken = [one[:2] for one in await desk.entries() if one[0] == "fee"]
    assert sorted(taken) == sorted([("fee", "-10.00"), ("fee", "6.77"), ("fee", "-21.00")])
    buckets = (await desk.harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    assert [one["amount"] for one in buckets if not one["main"]] == [str(-(-(2**30) * 21 // 31))]
    assert {one["state"] for one in await desk.fees()} == {"running", "ended"}
    assert await desk.told("fee.returned") == ["fee.returned"]


async def test_a_subscriber_that_is_deleted_gets_back_what_was_paid_ahead(desk: FeeDesk) -> None:
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 2, 9, tzinfo=UTC))
    gone = await desk.harness.call("DELETE", "/v1/subscribers/kid", if_match="*")
    assert gone.status_code == 204
    await desk.settle()
    assert await desk.balance() == "99.68"
    desk.wait_until(datetime(2032, 1, 1, tzinfo=UTC))
    await desk.settle()
    assert await desk.balance() == "99.68"


@pytest.mark.parametrize("refunded_first", [True, False], ids=["refund first", "end first"])
async def test_a_refund_and_the_end_give_back_what_was_paid_once(desk: FeeDesk, *, refunded_first: bool) -> None:
    harness = desk.harness

    async def refund(amount: str) -> int:
        await harness.sync()
        body = {"amount": amount, "reason": "sorry", "entry": 2}
        done = await harness.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=amount)
        return done.status_code

    await desk.settle()
    desk.wait_until(datetime(2031, 1, 2, 9, tzinfo=UTC))
    if refunded_first:
        assert await refund("4.00") == 201
    assert (await harness.call("DELETE", "/v1/subscribers/kid", if_match="*")).status_code == 204
    await desk.settle()
    assert await desk.balance() == "99.68"
    if not refunded_first:
        assert await refund("0.33") == 422
        assert await refund("0.32") == 201


@pytest.mark.parametrize("killed", [False, True])
async def test_what_the_end_does_not_give_to_a_closed_account_may_be_refunded(
    desk: FeeDesk, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """Also where the keeper is killed after the end, before it notes that; the account was opened again meanwhile."""
    harness = desk.harness
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 2, 9, tzinfo=UTC))
    closing = {"reason": "moved", "remainder": "payout"}
    shut = await harness.call("POST", "/v1/accounts/a1/closing", closing, idempotency_key="c")
    assert shut.status_code == 201, shut.text
    assert (await harness.call("DELETE", "/v1/subscribers/kid", if_match="*")).status_code == 204
    if killed:
        with monkeypatch.context() as patch:

            async def ends(*_: object) -> None:
                raise KilledHere

            patch.setattr("ocs.keeper.fees.end_gave_nothing", ends)
            with contextlib.suppress(KilledHere):
                await desk.settle()
        open_ = {"currency": "EUR", "state": "active"}
        assert (await harness.call("PUT", "/v1/accounts/a1", open_, if_match="*")).is_success
        harness.ahead_ms += 60_000
    await desk.settle()
    assert await desk.balance() == "0.00"
    await harness.sync()
    body = {"reason": "sorry", "entry": 2}
    for amount, status in (("10.01", 422), ("10.00", 201), ("0.01", 422)):
        done = await harness.call(
            "POST", "/v1/accounts/a1/refunds", body | {"amount": amount}, idempotency_key=f"r{amount}"
        )
        assert done.status_code == status, done.text
    assert await desk.balance() == "10.00"


async def test_a_merge_takes_what_the_end_gives_back_along(desk: FeeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The month is paid once: what the old account paid ahead goes with it, and what it included lapses."""
    monkeypatch.setattr("ocs.backoffice.transfers.WAIT_S", 0.2)
    harness = desk.harness
    await harness.account("a2")
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 11, 15, tzinfo=UTC))
    body = {"into": "a2", "reason": "married"}
    assert (await harness.call("POST", "/v1/accounts/a1/merge", body, idempotency_key="m")).json()["state"] == "ordered"
    await desk.settle()
    for _ in range(3):
        await harness.sync()
        await finish_transfers(harness.pool, harness.store, logger(), lambda: harness.now_ms() + 10_000, None)
    await desk.settle()
    found = (await harness.call("GET", "/v1/accounts/a2")).json()
    assert found["balance"] == "90.00", "ten days by the old account, twenty-one by the new one"
    assert [one["amount"] for one in found["buckets"] if not one["main"]] == [str(-(-(2**30) * 21 // 31))]


async def test_the_end_gives_back_of_what_was_paid_whatever_it_would_cost_today(desk: FeeDesk) -> None:
    """Another attribute, and another promotion, since it was taken."""
    harness = desk.harness
    by_plan = MONTHLY.replace('price = "10"', 'price = "subscriber.fee"')
    await harness.tariff(FLAT.replace('"flat"', '"plan"') + by_plan, "plan")
    await harness.account("a2")
    await harness.top_up("100.00", "a2")
    wanted: dict[str, Any] = {"account": "a2", "tariffs": [{"tariff": "plan"}], "identities": ["msisdn:491700000009"]}

    async def put(fee: str) -> None:
        body = wanted | {"attributes": {"fee": fee}}
        more = {} if fee == "31" else {"if_match": "*"}
        assert (await harness.call("PUT", "/v1/subscribers/ann", body, **more)).status_code in (200, 201)

    await put("31")
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 11, 9, tzinfo=UTC))
    await put("3.10")
    assert (await harness.call("DELETE", "/v1/subscribers/ann", if_match="*")).status_code == 204
    due = (await harness.call("GET", "/v1/fees/due")).json()["items"]
    assert [one["amount"] for one in due if one["subscriber"] == "ann"] == ["-21.00"]
    await desk.settle()
    assert (await harness.call("GET", "/v1/accounts/a2")).json()["balance"] == "90.00"


async def test_a_refund_granted_while_the_end_is_on_its_way_gives_no_more(desk: FeeDesk) -> None:
    """Whoever is granted first counts, posted or not; a keeper that was killed in between is granted the same."""
    harness, pool = desk.harness, desk.harness.pool
    await desk.settle()
    await harness.sync()
    entry = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"][1]
    key = await pool.fetchval("SELECT request_key FROM ledger_entries WHERE account = 'a1' AND seq = 2")
    assert (entry["why"], entry["seq"]) == ("fee", 2)
    assert await grant_end(pool, "a1", "chain", key, 9_680_000) == 9_680_000
    refused = await harness.call(
        "POST", "/v1/accounts/a1/refunds", {"amount": "0.33", "reason": "x", "entry": 2}, idempotency_key="r1"
    )
    assert refused.status_code == 422, refused.text
    granted = await harness.call(
        "POST", "/v1/accounts/a1/refunds", {"amount": "0.32", "reason": "x", "entry": 2}, idempotency_key="r2"
    )
    assert granted.status_code == 201
    assert await grant_end(pool, "a1", "chain", key, 9_680_000) == 9_680_000
    assert await grant_end(pool, "a1", "another", key, 9_680_000) == 9_360_000


async def test_no_lock_is_held_while_the_store_answers_and_what_changes_meanwhile_counts(desk: FeeDesk) -> None:
    harness, pool, store = desk.harness, desk.harness.pool, desk.run._store

    class Slow:
        """Money comes in, and the assignment ends, while a fee is under way."""

        def fee(self, fee: Fee) -> Any:
            called.append(fee)
            return store.fee(fee)

        def settings(self, settings: AccountSettings) -> Any:
            return store.settings(settings)

    called: list[Fee] = []
    await harness.newest()
    desk.run._store = Slow()
    version = FeeTariffs(harness).version
    claimed = await rows.claim(pool, harness.now_ms(), version, 10)  # its keeper is killed
    assert await rows.claim(pool, harness.now_ms(), version, 10) == []
    await asyncio.wait_for(pool.execute("UPDATE fee_assignments SET due_ms = 1 WHERE waiting"), 10)
    await desk.run.step()
    assert len(called) == 1
    assert await desk.balance() == "90.00"
    async with pool.acquire() as db:
        await rows.looked(db, [(one, FeeLook(None, False, "late", 0, 0)) for one in claimed])
    assert await pool.fetchval("SELECT why FROM fee_assignments") == "", "it says nothing of what was looked at since"


async def test_money_that_comes_in_pays_at_once(desk: FeeDesk) -> None:
    harness = desk.harness
    await harness.account("a1b")
    await harness.subscriber("poor", "a1b", "msisdn:491700000002")
    await desk.settle()
    assert await desk.told("fee.failed") == ["fee.failed"]
    status = (await harness.call("GET", "/v1/fees/status")).json()
    assert (status["waiting"], status["due"], status["paused_by"]) == (1, 0, None)
    await harness.top_up("10.00", "a1b")
    await harness.sync()
    await desk.settle()
    assert (await harness.call("GET", "/v1/accounts/a1b")).json()["balance"] == "0.00"
    assert (await harness.call("GET", "/v1/fees/status")).json()["waiting"] == 0


async def test_a_paused_run_takes_nothing_and_goes_on_where_it_was(desk: FeeDesk) -> None:
    await desk.harness.newest()
    paused = await desk.harness.call("POST", "/v1/fees/pause")
    assert (paused.json()["paused_by"], paused.json()["due"]) == ("admin", 1)
    await desk.run.step()
    assert await desk.balance() == "100.00"
    assert (await desk.harness.call("POST", "/v1/fees/resume")).json()["paused_by"] is None
    await desk.settle()
    assert await desk.balance() == "90.00"


async def test_two_keepers_at_once_take_each_period_once(desk: FeeDesk) -> None:
    for number in range(30):
        await desk.harness.subscriber(f"s{number}", "a1", f"msisdn:4917100000{number:02}")
    await desk.harness.call("POST", "/v1/accounts/a1/topups", {"amount": "1000"}, idempotency_key="more")
    await desk.harness.newest()
    other = desk.new_run()
    for _ in range(4):
        await asyncio.gather(desk.run.step(), other.step())
    assert await desk.balance() == "790.00"


async def test_a_dry_run_says_what_is_taken_then(desk: FeeDesk) -> None:
    due = (await desk.harness.call("GET", "/v1/fees/due?at=2031-03-15T00:00:00Z")).json()
    assert [(one["from_day"], one["amount"]) for one in due["items"]] == [
        ("2031-01-01", "10.00"),
        ("2031-02-01", "10.00"),
        ("2031-03-01", "10.00"),
    ]
    assert due["items"][0]["includes"] == ["1073741824 octets data"]
    assert await desk.balance() == "100.00"
    desk.wait_until(datetime(2031, 3, 15, tzinfo=UTC))
    await desk.settle()
    assert await desk.balance() == "70.00"


async def test_a_version_that_brings_a_fee_counts_from_when_it_is_published(desk: FeeDesk) -> None:
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 11, tzinfo=UTC))
    more = MONTHLY + '\n[[fees]]\nname = "extra"\nprice = "3.10"\nevery = "month"\n'
    await desk.harness.pool.execute("SELECT 1")
    await desk.harness.tariff("valid_from = 2031-01-22T00:00:00Z\n" + FLAT + more)
    await desk.settle()
    assert await desk.balance() == "90.00"
    desk.wait_until(datetime(2031, 1, 23, tzinfo=UTC))
    await desk.settle()
    assert await desk.balance() == "89.00"  # ten days of 31


async def test_a_tariff_tells_what_it_costs(desk: FeeDesk) -> None:
    asked = "/v1/explain/tariffs/flat/fees?from=2031-01-21T00:00:00Z&until=2031-03-01T00:00:00Z"
    found = (await desk.harness.call("GET", asked)).json()
    assert found["fees"][0]["says"][0] == "10 EUR every month, in advance"
    assert [(one["from_day"], one["amount"]) for one in found["periods"]] == [
        ("2031-01-21", "3.55"),
        ("2031-02-01", "10.00"),
    ]
    assert found["periods"][0]["made_of"][1:] == [
        "3.548387096774... 11 of 31 parts of the period",
        "3.55 rounded half up to 0.01",
    ]


async def test_the_billing_month_is_the_accounts(desk: FeeDesk) -> None:
    await desk.harness.tariff(FLAT.replace('"flat"', '"bill"') + MONTHLY.replace('"month"', '"billing month"'), "bill")
    account = await desk.harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "billing_day": 31}, if_match="*")
    assert account.json()["billing_day"] == 31
    await desk.harness.subscriber("bob", "a1", "msisdn:491700000009", tariffs=[{"tariff": "bill"}])
    due = (await desk.harness.call("GET", "/v1/fees/due?at=2031-03-01T00:00:00Z")).json()["items"]
    assert [(one["from_day"], one["until_day"]) for one in due if one["subscriber"] == "bob"] == [
        ("2031-01-01", "2031-01-31"),
        ("2031-01-31", "2031-02-28"),
        ("2031-02-28", "2031-03-31"),
    ]


async def test_a_fee_without_a_price_is_tried_again(desk: FeeDesk) -> None:
    """Its rate of exchange is missing."""
    harness = desk.harness
    await harness.tariff(FLAT.replace('"flat"', '"usd"').replace("EUR", "USD") + MONTHLY, "usd")
    await harness.subscriber("usd", "a1", "msisdn:491700000008", tariffs=[{"tariff": "usd"}])
    await desk.settle()
    assert (await harness.call("GET", "/v1/fees/status")).json()["troubled"] == 1
    rates = {"rates": [{"of": "USD", "into": "EUR", "rate": "0.5"}]}
    assert (await harness.call("PUT", "/v1/exchange-rates/2030-12-01", rates)).status_code == 200
    desk.wait_until(datetime(2031, 1, 1, 2, tzinfo=UTC))
    await desk.settle()
    found = (await harness.call("GET", "/v1/fees/status")).json()
    assert found["troubled"] == 0, found
    assert ("fee", "-5.00", "usd@1:base 2031-01-01/2031-02-01") in await desk.entries()


IN_DOLLARS = """
[[fees]]
name = "base"
price = "9.99"
every = "month"

[[fees.includes]]
name = "gift"
kind = "money"
amount = "3.00"
rollover = 1
carried_max = "1.00"

[[fees.includes]]
name = "data"
amount = "1 GB"
money = "2.00"
"""


async def test_money_that_is_included_is_exchanged_as_the_price_is(desk: FeeDesk) -> None:
    """One dollar is 0.3333333 euro: what 3 of them are, and 2 beside octets, is rounded up to a micro-unit."""
    harness = desk.harness
    await harness.account("a2")
    await harness.top_up("20.00", "a2")
    rates = {"rates": [{"of": "USD", "into": "EUR", "rate": "0.3333333"}]}
    assert (await harness.call("PUT", "/v1/exchange-rates/2030-12-01", rates)).status_code == 200
    await harness.tariff(FLAT.replace('"flat"', '"usd"').replace("EUR", "USD") + IN_DOLLARS, "usd")
    await harness.subscriber("usd", "a2", "msisdn:491700000008", tariffs=[{"tariff": "usd"}])
    await desk.settle()
    account = (await harness.call("GET", "/v1/accounts/a2")).json()
    given = {(one["name"], one["kind"]): one for one in account["buckets"]}
    assert given["gift", "money"]["amount"] == "1.00"
    assert given["data", "octets"]["money"]["amount"] == "0.666667"


FROM_START = """
[[fees]]
name = "option"
price = "3"
every = "30 d"

[[fees]]
name = "activation"
price = "5"
every = "once"

[[fees]]
name = "care"
price = "2"
every = "month"
due = "arrears"
"""


async def test_an_imported_fee_goes_on_where_it_was(desk: FeeDesk) -> None:
    """What was paid where it comes from is not taken again: the month, days counted from the start, what is paid once.
    What is not paid yet is taken when it is due there."""
    harness = desk.harness
    await harness.tariff(FLAT.replace('"flat"', '"start"') + FROM_START, "start")
    await harness.account("uno1", billing_day=15)
    await harness.top_up("100.00", "uno1")
    made = await harness.subscriber("uno2", "uno1", "username:uno", tariffs=[{"tariff": "flat"}, {"tariff": "start"}])
    assert made.status_code == 201, made.text
    await desk.settle()
    desk.wait_until(datetime(2031, 1, 12, 9, tzinfo=UTC))
    await desk.settle()

    async def balances() -> list[str]:
        await desk.settle()
        return [(await harness.call("GET", f"/v1/accounts/{one}")).json()["balance"] for one in ("uno1", "due1")]

    out = (await harness.call("GET", "/v1/export")).text
    moved = "".join(f"{line}\n" for line in out.replace("uno", "due").splitlines() if "due" in line)
    done = await harness.call("POST", "/v1/import", moved.encode(), content_type="application/x-ndjson")
    assert '"event":"done"' in done.text
    assert '"event":"error"' not in done.text, done.text
    again = (await harness.call("GET", "/v1/export")).text
    assert [line for line in again.splitlines() if "due" in line] == moved.splitlines()
    for _ in range(70):
        before, after = await balances()
        assert before == after, datetime.fromtimestamp(harness.now_ms() / 1_000, UTC)
        harness.ahead_ms += 86_400_000
    entries = (await harness.call("GET", "/v1/accounts/due1/ledger")).json()["items"]
    await harness.sync()
    entries = (await harness.call("GET", "/v1/accounts/due1/ledger")).json()["items"]
    assert not [one for one in entries if "activation" in one["reference"]]
    assert [one["amount"] for one in entries if "base" in one["reference"] and one["kind"] == "money"] == ["-10.00"] * 2


PARTLY = """
[[fees]]
name = "base"
price = "10"
every = "month"
partial = true

[[fees.includes]]
name = "data"
amount = "1 GB"
scope = ["data"]
rollover = 1
carried_max = "100 MB"
"""


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_paid_of_a_running_period_is_paid_after_an_import_too(desk: FeeDesk, seed: int) -> None:
    """Whatever happens to both afterwards, the one that was imported has what the other one has: a part of a fee is not
    taken again, and an end gives back to what paid it, also to a bucket that lapsed, where it lapses too."""
    dice, harness = Random(seed), desk.harness
    await harness.tariff(FLAT.replace('"flat"', '"start"') + PARTLY, "start")
    await harness.account("uno1")
    lasting: dict[str, Any] = {"valid_until": "2031-01-09T00:00:00Z"} if dice.random() < 0.5 else {}
    bonus = await harness.top_up(dice.choice(["1.00", "3.00"]), "uno1", bonus=True, **lasting)
    assert (bonus.status_code, (await harness.top_up(dice.choice(["2.00", "30.00"]), "uno1")).status_code) == (201, 201)
    if dice.random() < 0.5:
        assert (await harness.top_up("5", "uno1", kind="units", name="other")).status_code == 201
    made = await harness.subscriber("uno2", "uno1", "username:uno", tariffs=[{"tariff": "start"}])
    assert made.status_code == 201, made.text
    await desk.settle()
    desk.wait_until(datetime(2031, 1, dice.randint(5, 12), 9, tzinfo=UTC))
    await desk.settle()
    out = (await harness.call("GET", "/v1/export")).text
    moved = "".join(f"{line}\n" for line in out.replace("uno", "due").splitlines() if "due" in line)
    done = await harness.call("POST", "/v1/import", moved.encode(), content_type="application/x-ndjson")
    assert '"event":"error"' not in done.text, done.text
    again = (await harness.call("GET", "/v1/export")).text
    assert [line for line in again.splitlines() if "due" in line] == moved.splitlines()

    async def have() -> list[Any]:
        await desk.settle()
        found = [(await harness.call("GET", f"/v1/accounts/{one}")).json() for one in ("uno1", "due1")]
        return [
            sorted((one["kind"], one["name"], one["amount"]) for one in each["buckets"] if one["amount"].strip("0."))
            for each in found
        ]

    ends_in = dice.randint(1, 45)
    for day in range(60):
        before, after = await have()
        assert before == after, datetime.fromtimestamp(harness.now_ms() / 1_000, UTC)
        if dice.random() < 0.15:
            for one in ("uno1", "due1"):
                assert (await harness.top_up("6.00", one)).status_code == 201
        if day == ends_in:
            for one in ("uno", "due"):
                body = {"account": f"{one}1", "identities": [f"username:{one}"], "tariffs": []}
                assert (await harness.call("PUT", f"/v1/subscribers/{one}2", body, if_match="*")).status_code == 200
        harness.ahead_ms += 86_400_000
    await harness.sync()
    assert (await verify(harness.redis, harness.backoffice.pool)).findings == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tariff": "gold"}, "one of the line's tariffs"),
        ({"from": "2031-01-01T00:00:00Z"}, "one of the line's tariffs"),
        ({"fees": [{"name": "base", "began": "2026-11-01T00:00:00Z", "settled": "2026-02-30"}]}, "a day such as"),
        ({"fees": [{"name": "base", "began": "2026-11-01T00:00:00Z"}] * 2}, "each name once"),
    ],
    ids=["tariff", "from", "day", "twice"],
)
async def test_fees_that_an_import_does_not_take(desk: FeeDesk, change: dict[str, Any], says: str) -> None:
    fees = {
        "tariff": "flat",
        "began": "2026-11-01T00:00:00Z",
        "fees": [{"name": "base", "began": "2026-11-01T00:00:00Z"}],
    }
    line = {"subscriber": {"id": "n", "account": "a1", "tariffs": [{"tariff": "flat"}], "fees": [fees | change]}}
    done = await desk.harness.call("POST", "/v1/import", msgspec.json.encode(line), content_type="application/x-ndjson")
    assert '"event":"error"' in done.text
    assert says in done.text


async def test_included_units_may_have_money_that_is_prorated_and_taken_back_with_them(desk: FeeDesk) -> None:
    await desk.settle()
    both = MONTHLY.replace('"10"', '"31"').replace("blocker = true", 'blocker = true\nmoney = "3.10"')
    await desk.harness.tariff(FLAT.replace('"flat"', '"other"') + both, "other")
    desk.wait_until(datetime(2031, 1, 11, 15, tzinfo=UTC))
    await desk.harness.call(
        "PUT", "/v1/subscribers/kid",
        {"account": "a1", "identities": ["msisdn:491700000001"], "tariffs": [{"tariff": "other"}]}, if_match="*",
    )  # fmt: skip
    await desk.settle()
    buckets = (await desk.harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    [given] = [one for one in buckets if not one["main"]]
    assert (given["amount"], given["money"]["amount"]) == (str(-(-(2**30) * 21 // 31)), "2.10")
    assert (given["blocker"], given["hours"]) == (True, "00:00-06:00")
    assert (await desk.harness.call("DELETE", "/v1/subscribers/kid", if_match="*")).status_code == 204
    await desk.settle()
    buckets = (await desk.harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    assert [one["main"] for one in buckets] == [True]


PRICED = MONTHLY.replace("blocker = true", 'rollover = 1\ncarried_max = "1 GB"\nprice = "0.005"\nper = "1 MB"')


async def priced(desk: FeeDesk) -> list[tuple[str, str, int]]:
    buckets = (await desk.harness.call("GET", "/v1/accounts/a1")).json()["buckets"]
    return [(one["amount"], one["price"], one["per"]) for one in buckets if not one["main"] and one["price"]]


async def test_included_units_keep_their_price_while_they_are_carried_over(desk: FeeDesk) -> None:
    """A later version has another one, for the periods that begin with it."""
    harness, document = desk.harness, FLAT + PRICED.replace('hours = "00:00-06:00"\n', "")
    early = await harness.call("PUT", "/v1/tariffs/flat", document, content_type="application/toml", if_match="*")
    assert (early.status_code, "format 3" in early.text) == (409, True), early.text
    await harness.pool.execute("UPDATE store SET format = 3")
    await harness.tariff(document)
    desk.wait_until(datetime(2031, 1, 1, 12, tzinfo=UTC))
    await desk.settle()
    assert await priced(desk) == [(str(2**30), "0.005", 2**20)]
    [fee] = await desk.fees()
    assert fee["next"]["includes"] == [f"{2**30} octets data for 0.005 per {2**20}"]
    await harness.tariff(document.replace("0.005", "0.006"))
    desk.wait_until(datetime(2031, 2, 1, 12, tzinfo=UTC))
    await desk.settle()
    assert sorted(await priced(desk)) == [(str(2**30), "0.005", 2**20), (str(2**30), "0.006", 2**20)]


async def test_the_price_of_included_units_is_exchanged(desk: FeeDesk) -> None:
    harness = desk.harness
    await harness.pool.execute("UPDATE store SET format = 3")
    rates = {"rates": [{"of": "USD", "into": "EUR", "rate": "0.5"}]}
    assert (await harness.call("PUT", "/v1/exchange-rates/2030-12-01", rates)).status_code == 200
    document = FLAT.replace('"flat"', '"usd"').replace("EUR", "USD") + PRICED
    await harness.tariff(document, "usd")
    await harness.subscriber("usd", "a1", "msisdn:491700000008", tariffs=[{"tariff": "usd"}])
    desk.wait_until(datetime(2031, 1, 1, 2, tzinfo=UTC))
    await desk.settle()
    assert [one[1:] for one in await priced(desk)] == [("0.0025", 2**20)]
