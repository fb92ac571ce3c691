"""Months that were dropped, as the back office sees them: what is known of them, and what is refused."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from balances import keys
from balances.ledger import refunds
from balances.ledger.months import Month
from balances.ledger.verify import verify
from ocs.keeper.retention import AGAIN_MS, Retention
from ocs.master import late_money
from ocs.telemetry.log import logger
from tests.balances.ledger.test_dropping import proven
from tests.ocs.api.test_access import configured, person
from tests.ocs.api.test_merges import keeper, merged
from tests.ocs.api.test_refunds import MB, SESSION, balance, call, refund
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

DAY_MS = 86_400_000


def on_the_tenth(harness: ApiHarness, months: int) -> Month:
    """Go on to the tenth of a later month, so that no test runs across the end of one."""
    month = Month.at(harness.now_ms())
    for _ in range(months):
        month = month.next
    harness.ahead_ms += month.from_ms + 9 * DAY_MS - harness.now_ms()
    return month


async def month_closed(harness: ApiHarness, month: Month) -> None:
    await harness.sync()
    closed = await harness.call("POST", f"/v1/ledger/periods/{month.name}/close")
    assert closed.status_code == 200, closed.text
    stores: Any = harness
    assert (await proven(stores, harness.now_ms())).findings == []


@pytest.fixture
async def old(harness: ApiHarness) -> tuple[ApiHarness, Month]:
    """Entries 1 and 2 (of SESSION) of a month that is closed and four months old, and entry 3 of this one."""
    month = on_the_tenth(harness, 1)
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await call(harness, SESSION, 3)
    on_the_tenth(harness, 4)
    await month_closed(harness, month)
    await harness.top_up("5.00")
    await harness.sync()
    return harness, month


async def dropped(harness: ApiHarness, month: Month, what: str = "entries") -> Any:
    answer = await harness.call("DELETE", f"/v1/ledger/periods/{month.name}/{what}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["deleted"]
    return answer.json()


def time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).isoformat()


async def test_what_is_kept_of_it(old: tuple[ApiHarness, Month]) -> None:
    harness, month = old
    until, a1 = time(month.next.from_ms), "/v1/accounts/a1"
    plan = (await harness.call("GET", f"/v1/ledger/periods/{month.name}/entries")).json()
    assert plan["obstacles"] == []
    assert plan["would_go"].keys() == {"usage", "entries"}
    await dropped(harness, month)
    (period,) = (await harness.call("GET", "/v1/ledger/periods")).json()["items"]
    assert period["entries_dropped"] == period["usage_dropped"] != None  # noqa: E711
    page = (await harness.call("GET", f"{a1}/ledger")).json()
    assert ([one["seq"] for one in page["items"]], page["kept_from"]) == ([3], until.replace("+00:00", "Z"))
    assert await balance(harness) == "5.97"
    then = (await harness.call("GET", f"{a1}/balance?as_of={month.next.name}-01T00:00:00Z"
                               f"&known_at={month.next.name}-01T00:00:00Z")).json()  # fmt: skip
    assert then["balance"] == "0.97"
    end = time(harness.now_ms() + DAY_MS).replace("+00:00", "Z")
    start = until.replace("+00:00", "Z")
    found = (await harness.call("GET", f"{a1}/statement?from={start}&until={end}")).json()
    assert found["totals"] == [{"kind": "money", "opening": "0.97", "closing": "5.97"}]
    assert sum(Decimal(one["amount"]) for one in found["entries"]) == 5
    before = time(month.from_ms).replace("+00:00", "Z")
    for path in (
        f"statement?from={before}&until={end}",
        f"statement.csv?from={before}&until={end}",
        f"balance?as_of={before}",
    ):
        refused = await harness.call("GET", f"{a1}/{path}")
        assert refused.status_code == 410, path
        assert f"kept from {month.next.name}-01 on" in refused.json()["detail"]
    proof = (await harness.call("POST", "/v1/ledger/verify")).json()
    assert (proof["sound"], proof["entries"], proof["dropped"]) == (True, 1, 2)
    assert proof["sums"] == {"EUR": {"revenue": "0.03", "top-up": "-6.00"}}


async def test_what_names_an_entry_that_is_gone_is_refused(old: tuple[ApiHarness, Month]) -> None:
    harness, month = old
    await dropped(harness, month)
    why = f"kept from {month.next.name}-01 on"
    refusals = [
        await refund(harness, "r1", "0.01", entry=2),
        await refund(harness, "r2", "0.01", session=SESSION),
        await harness.call("POST", "/v1/accounts/a1/reversals", {"entry": 1, "reason": "r"}, idempotency_key="r3"),
        await harness.call("POST", "/v1/accounts/a1/corrections",
                           {"amount": "0.01", "original_seq": 2, "reason": "r", "reference": "usage 1-1/0"},
                           idempotency_key="r4"),
    ]  # fmt: skip
    assert [one.status_code for one in refusals] == [422] * 4, [one.text for one in refusals]
    assert all(why in one.json()["detail"] for one in refusals), [one.text for one in refusals]
    for path in ("/v1/explain/accounts/a1/entries/2", f"/v1/explain/sessions/{SESSION}?account=a1"):
        gone = await harness.call("GET", path)
        assert gone.status_code == 410, gone.text
        assert why in gone.json()["detail"]
    assert await balance(harness) == "5.97"
    nothing = await refund(harness, "r5", "0.01", entry=9)
    assert why not in nothing.json()["detail"]


async def test_a_refund_that_was_posted_is_not_posted_again(harness: ApiHarness) -> None:
    """Its key and its entry are forgotten: that it was posted is not."""
    month = on_the_tenth(harness, 1)
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    await call(harness, SESSION, 3)
    assert (await refund(harness, "k1", "0.03", entry=2)).status_code == 201
    on_the_tenth(harness, 4)
    await month_closed(harness, month)
    await dropped(harness, month)
    await harness.redis.delete(keys.once("a1", keys.request_key("admin", "k1")))
    await harness.pool.execute("DELETE FROM once")
    assert (await refund(harness, "k1", "0.03", entry=2)).json()["type"] == "urn:ocs:problem:key-reused"
    assert await balance(harness) == "1.00"


async def test_use_without_its_record_is_not_given_back_twice(harness: ApiHarness) -> None:
    """Posted after the month, used in it: the session was given back, and what is left of that nobody knows."""
    month = on_the_tenth(harness, 1)
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    used_ms = harness.now_ms()
    await harness.charge(ccr(I, session_id=SESSION, **lines(mscc(10, ask={"cc_total_octets": 5 * MB}))))
    await harness.charge(
        ccr(T, session_id=SESSION, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": 3 * MB})))
    )
    await harness.sync()
    assert (await refund(harness, "k1", "0.03", session=SESSION)).status_code == 201
    on_the_tenth(harness, 4)
    await month_closed(harness, month)
    await dropped(harness, month, "usage")
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_entries WHERE seq = 2") == 1
    again = await refund(harness, "k2", "0.03", entry=2)
    assert "record of the use" in again.json()["detail"]
    assert await balance(harness) == "1.00"
    assert used_ms < month.next.from_ms


async def test_the_end_of_a_fee_gives_back_no_more_for_a_dropped_refund(harness: ApiHarness) -> None:
    """The fee of a year: its entry is gone, and what a refund gave back of it counts."""
    month = on_the_tenth(harness, 1)
    await harness.account()
    key = "fee s1|data|base|1|0|yearly|20260101|20270101|0"
    await harness.pool.execute(
        "INSERT INTO ledger_entries (account, seq, shard, epoch, n, bucket, kind, amount, after, currency,"
        " counter_account, why, at_ms, request_key)"
        " VALUES ('a1', 1, 0, 1, 1, 0, 0, -900, -900, 'EUR', 'fee', 'fee', $1, $2)",
        *(harness.now_ms(), key),
    )  # fmt: skip
    given = await refunds.grant(harness.pool, "a1", "k1", "f", 400, seq=1, sessions=[], windows={})
    assert given is not None
    assert await refunds.refunded_of_fee(harness.pool, "a1", key) == 400
    on_the_tenth(harness, 4)
    await harness.sync()
    assert (await harness.call("POST", f"/v1/ledger/periods/{month.name}/close")).status_code == 200
    await harness.pool.execute("INSERT INTO verifications (began_ms, ended_ms, by, accounts, entries, findings, text)"
                               " VALUES ($1, $1, '', 1, 1, 0, '')", harness.now_ms())  # fmt: skip
    await dropped(harness, month)
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_entries") == 0
    assert await refunds.refunded_of_fee(harness.pool, "a1", key) == 400
    assert await refunds.grant_end(harness.pool, "a1", "chain", key, 500) == 100


async def test_it_waits_for_a_second_person_and_stands_on_the_audit_trail(old: tuple[ApiHarness, Month]) -> None:
    harness, month = old
    configured(harness, four_eyes=("ledger.drop",))
    noc = await person(harness, "nina", "noc")
    path = f"/v1/ledger/periods/{month.name}/entries"
    assert (await noc.call("DELETE", path)).status_code == 403
    anna, otto = await person(harness, "anna", "admin"), await person(harness, "otto", "admin")
    waits = await anna.call("DELETE", path)
    assert waits.status_code == 202
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_drops") == 0
    done = await otto.call("POST", f"/v1/approvals/{waits.json()['approval']}/approve", {})
    assert (done.json()["state"], done.json()["answer"]["deleted"]) == ("done", True)
    rows = await harness.pool.fetch(
        "SELECT caller, operation, after::text FROM audit WHERE target = 'ledger_drops' ORDER BY id"
    )
    assert {(row["caller"], row["operation"]) for row in rows} == {("anna", "drop_entries")}
    whats = {one["what"] for row in rows for one in json.loads(row["after"])}
    assert whats == {"usage", "entries"}
    (closing,) = await harness.pool.fetch("SELECT caller FROM audit WHERE target = 'ledger_periods'")
    assert closing["caller"] == "admin"


async def test_what_may_not_go_is_refused_in_words(old: tuple[ApiHarness, Month]) -> None:
    harness, month = old
    refused = await harness.call("DELETE", f"/v1/ledger/periods/{month.next.name}/entries")
    assert refused.status_code == 409
    assert f"{month.next.name} is not closed" in refused.json()["detail"]
    plan = (await harness.call("GET", f"/v1/ledger/periods/{month.next.name}/entries")).json()
    assert refused.json()["detail"] == "; ".join(plan["obstacles"])
    assert (await harness.call("DELETE", "/v1/ledger/periods/october/entries")).status_code == 422


@pytest.mark.parametrize("reopened", [False, True])
async def test_late_money_goes_to_no_heir_where_nobody_knows_whose_it_is(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, reopened: bool
) -> None:
    """A merged account was opened again by hand, and the entries that say so are gone."""
    monkeypatch.setattr("ocs.backoffice.transfers.WAIT_S", 0.2)
    month = on_the_tenth(harness, 1)
    await harness.account("old")
    await harness.account("new")
    await harness.top_up("3.00", "old")
    await harness.top_up("2", "old", bonus=True, name="gift")
    await merged(harness)
    await keeper(harness)
    if reopened:
        await harness.call("PUT", "/v1/accounts/old", {"currency": "EUR", "state": "active"}, if_match="*")
        await harness.top_up("1.00", "old")
        closed = {"reason": "gone", "remainder": "payout"}
        shut = await harness.call("POST", "/v1/accounts/old/closing", closed, idempotency_key="c2")
        assert shut.status_code == 201, shut.text
    on_the_tenth(harness, 4)
    await month_closed(harness, month)
    before = await late_money._merged(harness.pool, ["old"], harness.now_ms())
    await dropped(harness, month)
    after = await late_money._merged(harness.pool, ["old"], harness.now_ms())
    assert len(before) == len(after) == (0 if reopened else 1)


class KeptRetention:
    def __init__(self, harness: ApiHarness, usage: int, entries: int) -> None:
        self.alarms: dict[str, str] = {}
        self.it = Retention(
            harness.pool,
            logger(),
            now_ms=harness.now_ms,
            mine=lambda: True,
            lasting=self.alarms.__setitem__,
            keep_months={"usage": usage, "entries": entries},
        )


async def test_retention_drops_what_is_closed_and_tells_what_is_not(harness: ApiHarness) -> None:
    month = on_the_tenth(harness, 1)
    await harness.account()
    for _ in range(3):
        await harness.top_up("1.00")
        on_the_tenth(harness, 1)
    on_the_tenth(harness, 2)
    await harness.sync()
    kept = KeptRetention(harness, 3, 4)
    await kept.it.step()
    not_closed = f"{month.name} is not closed"
    assert not_closed in kept.it.waits["usage"] == kept.alarms["retention of usage"]
    assert not_closed in kept.it.waits["entries"]
    assert kept.it.dropped == {}
    await month_closed(harness, month)
    await month_closed(harness, month.next)
    await kept.it.step()
    assert kept.it.dropped == {}, "it tries only now and then"
    harness.ahead_ms += AGAIN_MS
    await kept.it.step()
    assert (kept.it.dropped, kept.it.waits["usage"], kept.it.waits["entries"]) == ({"usage": 2, "entries": 1}, "", "")
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_entries") == 2
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_drops WHERE deleted_ms IS NULL") == 0
    harness.ahead_ms += AGAIN_MS
    await kept.it.step()
    assert kept.it.dropped == {"usage": 2, "entries": 1}
    assert (await verify(harness.redis, harness.pool)).findings == []


async def test_without_a_setting_everything_is_kept_and_what_was_left_is_deleted(old: tuple[ApiHarness, Month]) -> None:
    harness, month = old
    kept = KeptRetention(harness, 0, 0)
    await kept.it.step()
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_drops") == 0
    await dropped(harness, month)
    await harness.pool.execute("UPDATE ledger_drops SET deleted_ms = NULL")  # as if it was killed before that
    harness.ahead_ms += AGAIN_MS
    await kept.it.step()
    assert await harness.pool.fetchval("SELECT count(*) FROM ledger_drops WHERE deleted_ms IS NULL") == 0
